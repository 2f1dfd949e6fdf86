"""Priors p(z): one class each, chosen by `model/prior=`."""

from aevb.priors.base import Prior
from aevb.priors.codes import Codes
from aevb.priors.conditional import ConditionalGaussian
from aevb.priors.constrained import Beta, Dirichlet, Gamma, LogNormal
from aevb.priors.convolutional import ConvTopDown
from aevb.priors.discrete import Categorical
from aevb.priors.factorized import Laplace, StandardNormal, StudentT
from aevb.priors.flow import Flow
from aevb.priors.hierarchical import Hierarchical, TopDown
from aevb.priors.mixture import MixtureOfGaussians, VampPrior
from aevb.priors.sequence import IndependentSteps, Markov
from aevb.priors.spherical import UniformSphere

__all__ = [
    "Beta",
    "Categorical",
    "Codes",
    "ConditionalGaussian",
    "ConvTopDown",
    "Dirichlet",
    "Flow",
    "Gamma",
    "Hierarchical",
    "IndependentSteps",
    "Laplace",
    "LogNormal",
    "Markov",
    "MixtureOfGaussians",
    "Prior",
    "StandardNormal",
    "StudentT",
    "TopDown",
    "UniformSphere",
    "VampPrior",
]

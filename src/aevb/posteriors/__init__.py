"""Posterior heads q(z|x): one class each, chosen by `model/posterior=`."""

import aevb.distributions.kl  # noqa: F401 - registers closed forms of the KL divergence
from aevb.posteriors.base import Posterior, RecognitionHead
from aevb.posteriors.codes import Quantized
from aevb.posteriors.constrained import Beta, Dirichlet, Gamma, LogNormal
from aevb.posteriors.convolutional import ConvLadder, ConvTopDown
from aevb.posteriors.discrete import Concrete
from aevb.posteriors.flow import InverseAutoregressiveFlow, SplineFlow
from aevb.posteriors.gaussian import DiagonalGaussian, FullGaussian, LowRankGaussian
from aevb.posteriors.hierarchical import BottomUp, Ladder, TopDown
from aevb.posteriors.location_scale import Laplace, Logistic
from aevb.posteriors.sequence import IndependentSteps, Markov
from aevb.posteriors.spherical import PowerSpherical

__all__ = [
    "Beta",
    "BottomUp",
    "Concrete",
    "ConvLadder",
    "ConvTopDown",
    "DiagonalGaussian",
    "Dirichlet",
    "FullGaussian",
    "Gamma",
    "IndependentSteps",
    "InverseAutoregressiveFlow",
    "Ladder",
    "Laplace",
    "LogNormal",
    "Logistic",
    "LowRankGaussian",
    "Markov",
    "Posterior",
    "PowerSpherical",
    "Quantized",
    "RecognitionHead",
    "SplineFlow",
    "TopDown",
]

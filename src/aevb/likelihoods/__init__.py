"""Likelihood heads p(x|z): one class each, chosen by `model/likelihood=`."""

from aevb.likelihoods.base import Likelihood
from aevb.likelihoods.bernoulli import Bernoulli, ContinuousBernoulli
from aevb.likelihoods.beta import Beta
from aevb.likelihoods.counts import NegativeBinomial, Poisson
from aevb.likelihoods.gaussian import (
    FixedGaussian,
    Gaussian,
    GaussianPerValue,
    GaussianUniformMixture,
    OptimalGaussian,
    ScalarGaussian,
)
from aevb.likelihoods.levels import Categorical, DiscretizedLogistic, DiscretizedLogisticMixture
from aevb.likelihoods.location_scale import Laplace, LocationScale, Logistic, StudentT
from aevb.likelihoods.multinomial import Multinomial
from aevb.likelihoods.sequence import PerStep, Recurrent
from aevb.likelihoods.tokens import RecurrentTokens

__all__ = [
    "Bernoulli",
    "Beta",
    "Categorical",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "DiscretizedLogisticMixture",
    "FixedGaussian",
    "Gaussian",
    "GaussianPerValue",
    "GaussianUniformMixture",
    "Laplace",
    "Likelihood",
    "LocationScale",
    "Logistic",
    "Multinomial",
    "NegativeBinomial",
    "OptimalGaussian",
    "PerStep",
    "Poisson",
    "Recurrent",
    "RecurrentTokens",
    "ScalarGaussian",
    "StudentT",
]

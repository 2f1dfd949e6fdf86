"""Likelihood heads p(x|z): one class each, chosen by `model/likelihood=`."""

from aevb.likelihoods.base import Likelihood
from aevb.likelihoods.bernoulli import Bernoulli, ContinuousBernoulli
from aevb.likelihoods.beta import Beta
from aevb.likelihoods.categorical import Categorical
from aevb.likelihoods.counts import NegativeBinomial, Poisson
from aevb.likelihoods.discretized_logistic import DiscretizedLogistic, DiscretizedLogisticMixture
from aevb.likelihoods.gaussian import FixedGaussian, Gaussian, GaussianPerValue, ScalarGaussian
from aevb.likelihoods.gaussian_uniform_mixture import GaussianUniformMixture
from aevb.likelihoods.location_scale import Laplace, LocationScale, Logistic, StudentT
from aevb.likelihoods.optimal_gaussian import OptimalGaussian

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
    "NegativeBinomial",
    "OptimalGaussian",
    "Poisson",
    "ScalarGaussian",
    "StudentT",
]

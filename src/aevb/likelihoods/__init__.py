"""Likelihood heads p(x|z): one class each, chosen by `model/likelihood=`."""

from aevb.likelihoods.base import Likelihood
from aevb.likelihoods.bernoulli import Bernoulli
from aevb.likelihoods.gaussian import Gaussian

__all__ = ["Bernoulli", "Gaussian", "Likelihood"]

"""Posterior heads q(z|x): one class each, chosen by `model/posterior=`."""

import aevb.distributions.kl  # noqa: F401 - registers closed forms of the KL divergence
from aevb.posteriors.base import Posterior
from aevb.posteriors.diagonal_gaussian import DiagonalGaussian
from aevb.posteriors.flow import InverseAutoregressiveFlow, SplineFlow
from aevb.posteriors.full_gaussian import FullGaussian
from aevb.posteriors.laplace import Laplace
from aevb.posteriors.logistic import Logistic
from aevb.posteriors.low_rank_gaussian import LowRankGaussian

__all__ = [
    "DiagonalGaussian",
    "FullGaussian",
    "InverseAutoregressiveFlow",
    "Laplace",
    "Logistic",
    "LowRankGaussian",
    "Posterior",
    "SplineFlow",
]

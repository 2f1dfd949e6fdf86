"""Posterior heads q(z|x): one class each, chosen by `model/posterior=`."""

from aevb.posteriors.base import Posterior
from aevb.posteriors.diagonal_gaussian import DiagonalGaussian

__all__ = ["DiagonalGaussian", "Posterior"]

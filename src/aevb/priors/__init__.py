"""Priors p(z): one class each, chosen by `model/prior=`."""

from aevb.priors.base import Prior
from aevb.priors.standard_normal import StandardNormal

__all__ = ["Prior", "StandardNormal"]

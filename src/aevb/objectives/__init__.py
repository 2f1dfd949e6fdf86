"""Objectives: estimators of a bound on log p(x), one file per family, chosen by `objective=`."""

from aevb.objectives.base import Estimate, Objective, elbo
from aevb.objectives.sgvb import SGVB

__all__ = ["SGVB", "Estimate", "Objective", "elbo"]

"""What a trained model is worth: estimators of log p(x), and tasks beside it."""

from aevb.evaluation.base import Estimates, Estimator
from aevb.evaluation.elbo import ELBO
from aevb.evaluation.importance_sampling import ImportanceSampling

__all__ = ["ELBO", "Estimates", "Estimator", "ImportanceSampling"]

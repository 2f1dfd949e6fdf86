"""Estimators of log p(x) and of its bounds."""

from aevb.estimators.annealed_importance_sampling import AnnealedImportanceSampling
from aevb.estimators.base import Estimates, Estimator
from aevb.estimators.elbo import ELBO
from aevb.estimators.enumeration import Enumeration
from aevb.estimators.importance_sampling import ImportanceSampling
from aevb.estimators.label_enumeration import LabelEnumeration
from aevb.estimators.local_elbo import LocalELBO
from aevb.estimators.particle_filter import ParticleFilter
from aevb.estimators.posterior_hmc import PosteriorHMC

__all__ = [
    "ELBO",
    "AnnealedImportanceSampling",
    "Enumeration",
    "Estimates",
    "Estimator",
    "ImportanceSampling",
    "LabelEnumeration",
    "LocalELBO",
    "ParticleFilter",
    "PosteriorHMC",
]

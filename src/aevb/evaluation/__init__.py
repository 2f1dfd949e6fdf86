"""What a trained model is worth: estimators of log p(x), and tasks beside it."""

from aevb.evaluation.annealed_importance_sampling import AnnealedImportanceSampling
from aevb.evaluation.base import Estimates, Estimator
from aevb.evaluation.elbo import ELBO
from aevb.evaluation.importance_sampling import ImportanceSampling
from aevb.evaluation.imputation import Denoise, Inpaint, SuperResolution
from aevb.evaluation.latents import Latents
from aevb.evaluation.posterior_hmc import PosteriorHMC
from aevb.evaluation.probe import Probe
from aevb.evaluation.task import Findings, Task
from aevb.evaluation.walks import Interpolation, Traversal

__all__ = [
    "ELBO",
    "AnnealedImportanceSampling",
    "Denoise",
    "Estimates",
    "Estimator",
    "Findings",
    "ImportanceSampling",
    "Inpaint",
    "Interpolation",
    "Latents",
    "PosteriorHMC",
    "Probe",
    "SuperResolution",
    "Task",
    "Traversal",
]

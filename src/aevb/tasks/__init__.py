"""Post-training analyses other than estimates of log p(x)."""

from aevb.tasks.base import Task, TaskResult
from aevb.tasks.classes import Analogies, Classify
from aevb.tasks.compress import Compress
from aevb.tasks.disentanglement import Disentanglement
from aevb.tasks.explorer import Explorer
from aevb.tasks.fid import FID
from aevb.tasks.fit_prior import FitPrior
from aevb.tasks.forecast import Forecast
from aevb.tasks.imputation import Denoise, Inpaint, SuperResolution
from aevb.tasks.latents import Latents
from aevb.tasks.layers import Layers
from aevb.tasks.melodies import Melodies
from aevb.tasks.probe import Probe
from aevb.tasks.topics import Topics
from aevb.tasks.traversal import Interpolation, Traversal

__all__ = [
    "FID",
    "Analogies",
    "Classify",
    "Compress",
    "Denoise",
    "Disentanglement",
    "Explorer",
    "FitPrior",
    "Forecast",
    "Inpaint",
    "Interpolation",
    "Latents",
    "Layers",
    "Melodies",
    "Probe",
    "SuperResolution",
    "Task",
    "TaskResult",
    "Topics",
    "Traversal",
]

"""Analyses of trained models beside the estimates of log p(x)."""

from aevb.tasks.base import Findings, Task
from aevb.tasks.imputation import Denoise, Inpaint, SuperResolution
from aevb.tasks.latents import Latents
from aevb.tasks.probe import Probe
from aevb.tasks.walks import Interpolation, Traversal

__all__ = [
    "Denoise",
    "Findings",
    "Inpaint",
    "Interpolation",
    "Latents",
    "Probe",
    "SuperResolution",
    "Task",
    "Traversal",
]

"""Auto-Encoding Variational Bayes (Kingma & Welling, 2013) in PyTorch Lightning, configured by Hydra."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aevb.apps.compose import compose as compose
    from aevb.apps.estimator import VAEEstimator as VAEEstimator
    from aevb.apps.python import fit as fit
    from aevb.apps.python import train as train
    from aevb.runs.exported import load as load
    from aevb.runs.load import load_run as load_run

__version__ = version("aevb")

PUBLIC = {
    "VAEEstimator": "aevb.apps.estimator",
    "compose": "aevb.apps.compose",
    "fit": "aevb.apps.python",
    "load": "aevb.runs.exported",
    "load_run": "aevb.runs.load",
    "train": "aevb.apps.python",
}
"""Names and their modules, imported at first use, as torch takes seconds, too long for --help."""

__all__ = ["VAEEstimator", "__version__", "compose", "fit", "load", "load_run", "train"]


def __getattr__(name: str) -> Any:
    if name in PUBLIC:
        return getattr(import_module(PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

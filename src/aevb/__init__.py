"""Auto-Encoding Variational Bayes (Kingma & Welling, 2013) in PyTorch Lightning, configured by Hydra."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aevb.runs.load import load_run as load_run

__version__ = version("aevb")
__all__ = ["__version__", "load_run"]


def __getattr__(name: str) -> Any:
    # torch is loaded at first use, so that the programs' --help need not wait for it.
    if name == "load_run":
        from aevb.runs.load import load_run

        return load_run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

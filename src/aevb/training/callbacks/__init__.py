"""Lightning callbacks; `callbacks=` composes them."""

from aevb.training.callbacks.checkpoint import AtomicCheckpointIO, Checkpoint
from aevb.training.callbacks.curve import Curve
from aevb.training.callbacks.early_stopping import EarlyStopping
from aevb.training.callbacks.images import Images
from aevb.training.callbacks.interruption import Interruption
from aevb.training.callbacks.metrics import Metrics
from aevb.training.callbacks.progress import Progress
from aevb.training.callbacks.status import Status

__all__ = [
    "AtomicCheckpointIO",
    "Checkpoint",
    "Curve",
    "EarlyStopping",
    "Images",
    "Interruption",
    "Metrics",
    "Progress",
    "Status",
]

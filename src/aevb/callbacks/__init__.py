"""Lightning callbacks; `callbacks=` composes them."""

from aevb.callbacks.checkpoint import AtomicCheckpointIO, Checkpoint
from aevb.callbacks.curve import Curve
from aevb.callbacks.images import Images
from aevb.callbacks.interruption import Interrupted, Interruption, Pruned
from aevb.callbacks.metrics import Metrics
from aevb.callbacks.progress import Progress
from aevb.callbacks.status import Status

__all__ = [
    "AtomicCheckpointIO",
    "Checkpoint",
    "Curve",
    "Images",
    "Interrupted",
    "Interruption",
    "Metrics",
    "Progress",
    "Pruned",
    "Status",
]

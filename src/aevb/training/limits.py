"""The limit that ended a training."""

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping, Timer

from aevb.training.module import AEVB


def ended_by(trainer: pl.Trainer, module: AEVB) -> str:
    """The setting that ended a training, or the class of the callback."""
    if module.done:
        return "max_samples"
    if 0 <= trainer.max_steps <= trainer.global_step:
        return "trainer.max_steps"
    if trainer.max_epochs is not None and 0 <= trainer.max_epochs <= trainer.current_epoch:
        return "trainer.max_epochs"
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Timer) and (callback.time_remaining() or 0.0) <= 0:
            return "trainer.max_time"
        if isinstance(callback, EarlyStopping) and callback.wait_count >= callback.patience:
            return type(callback).__name__
    return "a callback"

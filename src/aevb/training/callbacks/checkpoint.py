"""Checkpoints: `last.ckpt` for exact resumption, `best.ckpt` for use."""

import io
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from aevb.files import atomic_write
from aevb.runs.checkpoints import read_checkpoint
from aevb.training.callbacks.periodic import Every
from aevb.training.loggers.metrics_file import MetricsFile
from aevb.training.module import AEVB
from aevb.types import Checked, Count, NonNegative


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically, and reads them without unpickling code."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        Path(path).parent.mkdir(exist_ok=True)  # but not its parent, the run folder, if that was removed
        atomic_write(path, buffer.getvalue())

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        return read_checkpoint(Path(path), Path(path).parent.parent)


class Checkpoint(Checked, pl.Callback):
    """Saves `last.ckpt` periodically and at the end of epochs, and `best.ckpt` at each new best val/elbo.

    Args:
        folder: Folder of the two files.
        every_samples: Training samples between two checkpoints, rounded up to whole blocks of minibatches.
        every_seconds: Minimum time between two checkpoints at the end of epochs, which may last milliseconds.
    """

    def __init__(self, folder: str | Path, every_samples: Count = 100_000, every_seconds: NonNegative = 1.0) -> None:
        self.last, self.best = Path(folder) / "last.ckpt", Path(folder) / "best.ckpt"
        self.every = Every(every_samples)
        self.every_seconds = every_seconds
        self.best_elbo, self.best_elbo_se = float("-inf"), float("nan")
        self.saved_time = time.monotonic()

    def save(self, trainer: pl.Trainer, module: AEVB) -> None:
        """Write `last.ckpt` now."""
        module.readings.settle()  # what they log is counted in the checkpoint
        trainer.save_checkpoint(self.last)
        self.every.last = module.samples_seen
        self.saved_time = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        self.every.last, self.saved_time = module.samples_seen, time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.every.due(module.samples_seen) and not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self.save(trainer, module)

    def on_validation_end(self, trainer: pl.Trainer, module: Any) -> None:
        if trainer.sanity_checking:
            return
        elbo = float(trainer.callback_metrics["val/elbo"])
        if elbo > self.best_elbo:
            self.best_elbo = elbo
            self.best_elbo_se = float(trainer.callback_metrics.get("val/elbo_se", float("nan")))
            trainer.save_checkpoint(self.best)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        is_old = time.monotonic() - self.saved_time >= self.every_seconds
        # Clocks differ between processes, and saving is a collective operation.
        if trainer.strategy.reduce_boolean_decision(self.every.due(module.samples_seen) or is_old, all=False):
            self.save(trainer, module)

    def on_train_end(self, trainer: pl.Trainer, module: Any) -> None:
        self.save(trainer, module)

    def on_save_checkpoint(self, trainer: pl.Trainer, module: Any, checkpoint: dict[str, Any]) -> None:
        files = [logger for logger in trainer.loggers if isinstance(logger, MetricsFile)]
        checkpoint["metrics_rows"] = files[0].file.num_rows if files else 0
        checkpoint["members_rows"] = files[0].members.num_rows if files else 0

    def state_dict(self) -> dict[str, Any]:
        return {"best_elbo": self.best_elbo, "best_elbo_se": self.best_elbo_se}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_elbo, self.best_elbo_se = state_dict["best_elbo"], state_dict["best_elbo_se"]

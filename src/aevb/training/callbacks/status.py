"""Keeps status.json up to date during training."""

import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl

from aevb.training.callbacks.periodic import Throughput


class Status(pl.Callback):
    """Calls `report` with the samples seen so far, at least `every_seconds` apart, and measures the throughput."""

    def __init__(self, report: Callable[[int], None], every_seconds: float = 5.0) -> None:
        self.report = report
        self.every_seconds = every_seconds
        self.reported_time = time.monotonic()
        self.throughput = Throughput()
        self.images_per_second: float | None = None
        """Throughput of the finished training, without validation; None before its end."""

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        self.throughput.start(module)

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if time.monotonic() - self.reported_time >= self.every_seconds:
            self.finish(trainer, module)

    def finish(self, trainer: pl.Trainer, module: Any) -> None:
        """Report now."""
        if trainer.is_global_zero:
            self.report(module.samples_seen)
        self.reported_time = time.monotonic()

    def on_train_end(self, trainer: pl.Trainer, module: Any) -> None:
        if module.samples_seen > self.throughput.samples:
            self.images_per_second = self.throughput.measure(module)
        self.finish(trainer, module)

    def on_exception(self, trainer: pl.Trainer, module: Any, exception: BaseException) -> None:
        self.finish(trainer, module)

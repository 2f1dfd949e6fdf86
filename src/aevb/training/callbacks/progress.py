"""The progress bar of training."""

import logging
import time
from typing import Any

import pytorch_lightning as pl
from rich import get_console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from aevb.runs.metrics import over_members, value_and_error
from aevb.training.callbacks.periodic import Throughput
from aevb.training.module import AEVB
from aevb.training.schedules import samples_per_epoch
from aevb.types import Checked, NonNegative

log = logging.getLogger("aevb")


class Progress(Checked, pl.Callback):
    """A progress bar of the whole run with samples, ELBO and images/s; without a terminal, a line per interval.

    Args:
        every_seconds: Minimum time between two lines.
    """

    def __init__(self, every_seconds: NonNegative = 10.0) -> None:
        self.every_seconds = every_seconds
        self.bar: Bar | None = None
        self.task = TaskID(0)
        self.total: int | None = None
        self.shown_time = 0.0
        self.throughput = Throughput()
        self.elbo = "elbo nan"

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        self.total = total_samples(trainer, module)
        self.shown_time = time.monotonic()
        self.throughput.start(module)
        if not trainer.is_global_zero or not get_console().is_terminal:
            return
        status = TextColumn("{task.fields[status]}")
        self.bar = Bar(BarColumn(bar_width=8), status, TimeRemainingColumn(compact=True))
        self.task = self.bar.add_task("", total=self.total, completed=module.samples_seen, status="training")
        self.bar.start()

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        since = time.monotonic() - self.shown_time
        if not trainer.is_global_zero or since < (0.25 if self.bar else self.every_seconds):
            return
        module.readings.settle()
        found = over_members({"elbo": outputs["elbo"].mean(0).tolist()})
        self.elbo = f"elbo {value_and_error(found, 'elbo', two_decimals)}"
        status = self.status(trainer, module)
        if self.bar:
            self.bar.update(self.task, completed=module.samples_seen, status=status)
        else:
            log.info(status)
        self.shown_time = time.monotonic()
        self.throughput.start(module)

    def status(self, trainer: pl.Trainer, module: AEVB) -> str:
        """Progress, ELBO and throughput in one line."""
        done = f"{module.samples_seen:,}" + (f"/{self.total:,}" if self.total else " samples")
        val = value_and_error(trainer.callback_metrics, "val/elbo", two_decimals)
        return f"{done}, {self.elbo}{f' (val {val})' if val else ''}, {self.throughput.measure(module):,.0f} images/s"

    def on_train_end(self, trainer: pl.Trainer, module: Any) -> None:
        if self.bar:
            self.bar.update(self.task, completed=module.samples_seen)
        self.close()

    def on_exception(self, trainer: pl.Trainer, module: Any, exception: BaseException) -> None:
        self.close()

    def close(self) -> None:
        """Stop the bar."""
        if self.bar:
            self.bar.stop()
            self.bar = None


def two_decimals(value: Any) -> str:
    """A number with two decimals; empty for None."""
    return "" if value is None else f"{float(value):.2f}"


def total_samples(trainer: pl.Trainer, module: AEVB) -> int | None:
    """Training samples of the whole run by `max_samples` and `max_epochs`; None: unlimited."""
    ends = [] if module.max_samples is None else [module.max_samples]
    if trainer.max_epochs not in (None, -1) and (samples := samples_per_epoch(trainer)):
        ends.append(trainer.max_epochs * samples)
    return min(ends, default=None)

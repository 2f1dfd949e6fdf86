"""Learning rate schedules that torch lacks, or cannot extend beyond their end, and schedules as long as the run."""

import inspect
import math
import warnings
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import pytorch_lightning as pl
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from aevb.data import BatchLoader
from aevb.errors import ConfigError
from aevb.types import Checked, Count, Fraction, Positive

LENGTHS = ("T_max", "total_iters", "total_steps", "epochs")
"""What schedulers, torch's and those here, call the number of epochs that they last."""


class Burda(Checked, LambdaLR):
    """IWAE's schedule: stage i = 0 … stages − 1 lasts 3^i epochs, at the learning rate lr · 10^(−i/7).

    The learning rate of the last stage is kept.

    Source: Burda, Grosse & Salakhutdinov (2016), section 5; there lr = 0.001 and i = 0 … 7, 3280 epochs in all.

    Args:
        optimizer: Has the learning rates of stage 0.
        stages: Number of stages.
        growth: Ratio of the lengths of successive stages.
        decay: Ratio of the learning rates of successive stages.
    """

    def __init__(
        self, optimizer: Optimizer, stages: Count = 8, growth: Count = 3, decay: Positive = 10 ** (-1 / 7)
    ) -> None:
        self.stages = stages
        self.growth = growth
        self.decay = decay
        super().__init__(optimizer, self.factor)

    def factor(self, epoch: int) -> float:
        """The factor of the learning rate in an epoch, counted from 0."""
        stage, end = 0, 1
        while stage < self.stages - 1 and epoch >= end:
            stage += 1
            end += self.growth**stage
        return self.decay**stage


class OneCycle(Checked, LambdaLR):
    """Half a cosine from lr / div_factor up to lr, another down to lr / (div_factor · final_div_factor), once.

    The learning rates of torch's `OneCycleLR`, an epoch in place of a step, for a run of any length: after the last
    epoch the learning rate stays. Momentum is not cycled.

    Source: Smith & Topin, Super-convergence (2018), arXiv 1708.07120.

    Args:
        optimizer: Its learning rates are the highest.
        epochs: Of the cycle; None, in a run: its own.
        warm_up: The part of the epochs in which the learning rate rises.
        div_factor: See above.
        final_div_factor: See above.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        epochs: Count | None = None,
        warm_up: Fraction = 0.3,
        div_factor: Positive = 25.0,
        final_div_factor: Positive = 1e4,
    ) -> None:
        if epochs is None:
            raise ValueError("epochs must be given, as there is no run to last as long as")
        self.peak, self.last = max(0.0, warm_up * epochs - 1), epochs - 1
        self.lowest = 1 / div_factor, 1 / (div_factor * final_div_factor)
        super().__init__(optimizer, self.factor)

    def factor(self, epoch: int) -> float:
        """The factor of the learning rate in an epoch, from 0 on."""
        if epoch < self.peak:
            return cosine(self.lowest[0], 1.0, epoch / self.peak)
        length = self.last - self.peak
        return cosine(1.0, self.lowest[1], min(1.0, (epoch - self.peak) / length) if length > 0 else 1.0)


def with_length(make_schedule: Callable[..., LRScheduler], epochs: int) -> Callable[..., LRScheduler]:
    """The factory with `epochs` as the length of the schedule, where it has one that is left to the run, None."""
    try:
        arguments = inspect.signature(make_schedule).parameters
    except (TypeError, ValueError):  # some callables have none
        return make_schedule
    found = [name for name in LENGTHS if name in arguments]
    if not found or any(arguments[name].default is not None for name in found):
        return make_schedule
    return partial(make_schedule, **{found[0]: epochs})


def spans_run(make_schedule: Callable[..., LRScheduler] | None) -> bool:
    """Whether the length of the schedule is left to the run."""
    return make_schedule is not None and with_length(make_schedule, 1) is not make_schedule


def span_run(
    trainer: pl.Trainer, make_schedule: Callable[..., LRScheduler] | None, max_samples: int | None, epoch: int
) -> None:
    """Let schedules whose length is left to the run end with it; called at its start.

    They are made anew and stepped from the first epoch to `epoch`, which gives a resumed run the learning rate that it
    had, and an extended run that of the longer schedule; the state in its checkpoint is of the shorter one.

    Raises:
        ConfigError: nothing says how many epochs the run has.
    """
    if make_schedule is None or not spans_run(make_schedule):
        return
    epochs = epochs_of_run(trainer, max_samples)
    if epochs is None:
        raise ConfigError(
            "schedule: it lasts as long as the run, but neither max_samples nor trainer.max_epochs ends that; give the "
            f"schedule its epochs ({', '.join(LENGTHS)})"
        )
    for scheduled in trainer.lr_scheduler_configs:
        optimizer = scheduled.scheduler.optimizer
        for group in optimizer.param_groups:
            group["lr"] = deepcopy(group["initial_lr"])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")  # no optimizer step lies between
            scheduled.scheduler = with_length(make_schedule, epochs)(optimizer)
            for _ in range(epoch):
                scheduled.scheduler.step()


def epochs_of_run(trainer: pl.Trainer, max_samples: int | None) -> int | None:
    """Epochs, the last of which may be cut, by `max_samples` and `trainer.max_epochs`; None: neither ends the run."""
    ends = [] if trainer.max_epochs in (None, -1) else [trainer.max_epochs]
    if max_samples is not None and (samples := samples_per_epoch(trainer)):
        ends.append(math.ceil(max_samples / samples))
    return min(ends, default=None)


def samples_per_epoch(trainer: pl.Trainer) -> int | None:
    """Training samples of an epoch, over all ranks; None where the data have no end."""
    loader: Any = trainer.train_dataloader
    if isinstance(loader, BatchLoader):
        samples, per_rank = loader.epoch_size, loader.batch_size * (loader.block_size or 1)
    else:
        try:
            samples, per_rank = len(loader.dataset), loader.batch_size or len(loader.dataset)
        except (TypeError, AttributeError):
            return None
    return int(min(samples, trainer.num_training_batches * per_rank * trainer.world_size))


def cosine(start: float, end: float, position: float) -> float:
    """Half a cosine from `start` to `end`, at a position in [0, 1]."""
    return end + (start - end) * (1 + math.cos(math.pi * position)) / 2

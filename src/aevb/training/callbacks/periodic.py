"""When callbacks act, and the throughput in between."""

import math
from abc import abstractmethod
from typing import Any

import pytorch_lightning as pl

from aevb.training.module import AEVB
from aevb.types import Checked, Count


class Every(Checked):
    """Due when the training samples pass a multiple of `samples`."""

    def __init__(self, samples: Count) -> None:
        self.samples = samples
        self.last = 0
        """Training samples at the last action."""

    def count(self, samples_seen: int) -> int:
        """How often it is due up to `samples_seen`."""
        return samples_seen // self.samples

    def due(self, samples_seen: int) -> bool:
        """Whether it is due at `samples_seen`, after the last action."""
        return self.count(samples_seen) > self.count(self.last)


class LogSpaced(Every):
    """Due when the training samples pass first · 10^(i / per_decade), i = 0, 1, …"""

    def __init__(self, first: Count, per_decade: Count) -> None:
        super().__init__(first)
        self.per_decade = per_decade

    def count(self, samples_seen: int) -> int:
        if samples_seen < self.samples:
            return 0
        return 1 + math.floor(self.per_decade * math.log10(samples_seen / self.samples) + 1e-9)


class Periodic(Checked, pl.Callback):
    """A callback that acts at the end of blocks when `every` is due."""

    def __init__(self, every: Every) -> None:
        self.every = every

    @abstractmethod
    def act(self, trainer: pl.Trainer, module: AEVB) -> None:
        """Called when `every` is due."""

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.every.due(module.samples_seen):
            self.act_now(trainer, module)

    def act_now(self, trainer: pl.Trainer, module: Any) -> None:
        """Act, unless the last action was at the same number of samples."""
        if module.samples_seen > self.every.last:
            self.act(trainer, module)
            self.every.last = module.samples_seen

    def state_dict(self) -> dict[str, Any]:
        return {"last": self.every.last}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.every.last = state_dict["last"]


class Throughput:
    """Training samples per second since `start`, of all members, without validation."""

    def __init__(self) -> None:
        self.samples, self.seconds = 0, 0.0

    def start(self, module: Any) -> None:
        """Start an interval."""
        self.samples, self.seconds = module.samples_seen, module.clock.seconds

    def measure(self, module: AEVB) -> float:
        """Samples per second of the interval."""
        samples = (module.samples_seen - self.samples) * len(module.members)
        return samples / max(module.clock.seconds - self.seconds, 1e-9)

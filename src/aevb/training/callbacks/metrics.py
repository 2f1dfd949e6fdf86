"""Logging of metrics against `samples`."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from aevb.runs.metrics import over_members
from aevb.training.callbacks.periodic import Every, Periodic, Throughput
from aevb.training.loggers.metrics_file import MetricsFile
from aevb.training.module import AEVB
from aevb.types import Count


class Metrics(Periodic):
    """Logs the means of the training metrics over intervals, and the metrics of validation and test.

    The training metrics stay on the device until an interval ends, so that training does not wait for them.
    `train/images_per_second` excludes validation, and counts the images of all members.

    Args:
        every_samples: Training samples in an interval, rounded up to whole blocks of minibatches.
    """

    def __init__(self, every_samples: Count = 10_000) -> None:
        super().__init__(Every(every_samples))
        self.sums: dict[str, Tensor] = {}
        self.steps = 0
        self.throughput = Throughput()

    def setup(self, trainer: pl.Trainer, module: Any, stage: str) -> None:
        module.logs_itself = False

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        self.throughput.start(module)

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        for name, values in outputs.items():
            self.sums[name] = self.sums.get(name, 0) + values.sum(0)
        self.steps += len(next(iter(outputs.values())))
        super().on_train_batch_end(trainer, module, outputs, batch, batch_idx)

    def act(self, trainer: pl.Trainer, module: AEVB) -> None:
        """Log the means since the last call, as soon as they are known."""
        names, samples, rate = list(self.sums), module.samples_seen, self.throughput.measure(module)

        def log(means: Tensor) -> None:
            metrics = over_members({f"train/{name}": mean for name, mean in zip(names, means.tolist(), strict=True)})
            log_metrics(trainer, metrics | {"train/images_per_second": rate}, samples)

        module.readings.add(torch.stack(list(self.sums.values())) / self.steps, log)
        self.sums, self.steps = {}, 0
        self.throughput.start(module)

    def on_train_end(self, trainer: pl.Trainer, module: Any) -> None:
        self.act_now(trainer, module)

    def on_validation_end(self, trainer: pl.Trainer, module: Any) -> None:
        if not trainer.sanity_checking:
            self.log_evaluation(trainer, module, "val")

    def on_test_end(self, trainer: pl.Trainer, module: Any) -> None:
        self.log_evaluation(trainer, module, "test")

    def log_evaluation(self, trainer: pl.Trainer, module: Any, stage: str) -> None:
        """Log the module's means over the datapoints of `stage`."""
        found = trainer.callback_metrics
        metrics: dict[str, float | Sequence[float]]
        metrics = {name: float(value) for name, value in found.items() if name.startswith(f"{stage}/")}
        metrics |= {name: values.tolist() for name, values in module.member_means.items()}
        log_metrics(trainer, metrics, module.samples_seen)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"sums": self.sums, "steps": self.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.sums, self.steps = state_dict["sums"], state_dict["steps"]


def log_metrics(trainer: pl.Trainer, metrics: Mapping[str, float | Sequence[float]], samples: int) -> None:
    """Log metrics to all loggers, at `samples`: of several members the statistics; the values go to members.csv."""
    for logger in trainer.loggers:
        logger.log_metrics(over_members(metrics), samples)
        if isinstance(logger, MetricsFile):
            logger.log_members({name: value for name, value in metrics.items() if isinstance(value, Sequence)}, samples)

"""The curves of the paper's figure 2: a bound on training and test data against the number of training samples."""

import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from aevb.callbacks.metrics import log_metrics
from aevb.checks import whole_number
from aevb.module import AEVB, seed_noise
from aevb.objectives.monte_carlo_em import evaluation_mode


class Curve(pl.Callback):
    """Logs the ELBO as `curve/train_elbo` and `curve/test_elbo` at log-spaced numbers of training samples.

    It is evaluated on the same datapoints and with the same noise each time, so that a curve shows the model's progress
    and little else. The numbers are first · 10^(i / per_decade), i = 0, 1, …, each rounded up to a whole block of
    minibatches; they depend on nothing else, and a resumed run has the curve of one that was never interrupted.

    An evaluation costs about a third of training on as many datapoints: with the defaults 2 % of 10⁷ samples of MNIST.

    Args:
        first: Training samples at the first point.
        per_decade: Points while the samples grow tenfold.
        datapoints: Of the training and of the test set, chosen at random once; all where there are fewer.

    Raises:
        ValueError: one of the numbers is not a positive whole number.
    """

    def __init__(self, first: int = 10_000, per_decade: int = 10, datapoints: int = 10_000) -> None:
        self.first = whole_number(first, "callbacks.curve.first")
        self.per_decade = whole_number(per_decade, "callbacks.curve.per_decade")
        self.datapoints = whole_number(datapoints, "callbacks.curve.datapoints")
        self.logged_samples = 0
        self.data: dict[str, Tensor] = {}

    def points(self, samples: int) -> int:
        """How many points of the curve lie at or below a number of samples."""
        if samples < self.first:
            return 0
        return 1 + math.floor(self.per_decade * math.log10(samples / self.first) + 1e-9)

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        self.data = {split: data.examples(split, self.datapoints)[0] for split in ("train", "test")}

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(module, AEVB)
        if self.points(module.samples) > self.points(self.logged_samples):
            self.logged_samples = module.samples
            if trainer.is_global_zero:
                found = {f"curve/{split}_elbo": mean_elbo(module, x) for split, x in self.data.items()}
                log_metrics(trainer, found, module.samples)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.data = {}

    def state_dict(self) -> dict[str, Any]:
        return {"logged_samples": self.logged_samples}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.logged_samples = state_dict["logged_samples"]


@torch.no_grad()
def mean_elbo(module: AEVB, x: Tensor, batch_size: int = 1000) -> float:
    """The mean ELBO of the datapoints x (N, *data_shape), in nats, with the same noise at each call."""
    seed_noise(module.seed, "curve")
    with evaluation_mode(module):
        bounds = [
            module.objective.evaluate(module.generative, module.recognition, chunk).elbo
            for chunk in x.to(module.device).split(batch_size)
        ]
    return float(torch.cat(bounds).mean())

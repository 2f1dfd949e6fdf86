"""The curves of the paper's figures 2 and 3: the bound on training and test data during training."""

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch

from aevb.data import Split
from aevb.estimators.base import Estimator
from aevb.estimators.runner import rows_at_once, run
from aevb.networks import evaluation_mode
from aevb.training.callbacks.metrics import log_metrics
from aevb.training.callbacks.periodic import LogSpaced, Periodic
from aevb.training.examples import examples, splits
from aevb.training.module import AEVB, evaluation
from aevb.training.noise import seed_noise
from aevb.types import Count


class Curve(Periodic):
    """Logs the ELBO, or an estimate of log p(x), of training and test data at log-spaced numbers of training samples.

    The metrics are `curve/train_elbo` and `curve/test_elbo`, with an estimator `curve/train_log_marginal` and
    `curve/test_log_marginal`; `val` replaces `test` for a trainer without a data module of `aevb`. Every point uses the
    same datapoints and the same noise. The points are first · 10^(i / per_decade), i = 0, 1, …, rounded up to whole
    blocks of minibatches, so a resumed run has the same curve as an uninterrupted one.

    The ELBO costs about a quarter of training on as many datapoints: with the defaults 1.5 % of 10⁷ samples of MNIST.

    Args:
        first: Training samples at the first point.
        per_decade: Points per decade of samples.
        datapoints: Number of training and of test datapoints, drawn once; all where there are fewer.
        estimator: Estimator of log p(x), see `aevb.estimators`; None: the ELBO, as in validation.
    """

    def __init__(
        self,
        first: Count = 10_000,
        per_decade: Count = 10,
        datapoints: Count = 10_000,
        estimator: Estimator | None = None,
    ) -> None:
        super().__init__(LogSpaced(first, per_decade))
        self.datapoints = datapoints
        self.estimator = estimator
        self.data: dict[str, Split] = {}

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        self.data = {split: examples(trainer, module, split, self.datapoints) for split in splits(trainer)}

    def act(self, trainer: pl.Trainer, module: AEVB) -> None:
        module.readings.settle()
        if trainer.is_global_zero:
            with module.averaged.in_place():
                log_metrics(trainer, self.measure(module), module.samples_seen)

    def measure(self, module: AEVB) -> dict[str, float | Sequence[float]]:
        """The points of the two curves, by the names of their metrics."""
        name = "log_marginal" if self.estimator else "elbo"
        found: dict[str, float | Sequence[float]] = {}
        for split, x in self.data.items():
            values = [
                mean_log_marginal(member, x, self.estimator) if self.estimator else mean_elbo(member, x)
                for member in module.members
            ]
            found[f"curve/{split}_{name}"] = values if len(values) > 1 else values[0]
        return found

    def on_train_end(self, trainer: pl.Trainer, module: Any) -> None:
        self.data = {}


@torch.no_grad()
def mean_elbo(module: AEVB, data: Split, batch_size: int = 1000) -> float:
    """The mean ELBO of datapoints in nats, with the same noise at each call."""
    seed_noise(module.seed, "curve")
    with evaluation_mode(module):
        bounds = [evaluation(module, x, c).elbo for x, _, c in data.to(module.device).chunks(batch_size)]
    return float(torch.cat(bounds).mean())


def mean_log_marginal(module: AEVB, data: Split, estimator: Estimator) -> float:
    """The mean estimate of log p(x) of datapoints in nats, with the same noise at each call."""
    with evaluation_mode(module):
        rows = rows_at_once(module.vae.p)
        found, _ = run(estimator, module.vae, data.to(module.device), rows, module.seed)
    return found.mean

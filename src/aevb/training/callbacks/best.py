"""The best weights of a training that leaves no files."""

from typing import Any

import pytorch_lightning as pl
from torch import Tensor


class KeepBest(pl.Callback):
    """Keeps a copy of the weights at each new best val/elbo, as `Checkpoint` does in best.ckpt.

    Attributes:
        elbo: The best val/elbo in nats per datapoint; −∞ before the first validation.
    """

    def __init__(self) -> None:
        self.elbo = float("-inf")
        self.weights: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: pl.Trainer, module: Any) -> None:
        elbo = float(trainer.callback_metrics["val/elbo"])
        if elbo > self.elbo and not trainer.sanity_checking:
            self.elbo = elbo
            self.weights = {name: weight.clone() for name, weight in module.state_dict().items()}

"""Early stopping on the validation set."""

from typing import Any, Literal

import pytorch_lightning as pl

from aevb.types import Checked, CountOrZero, NonNegative


class EarlyStopping(Checked, pl.callbacks.EarlyStopping):
    """Ends the training when a metric has not improved by more than `min_delta` for `patience` validations.

    Unlike Lightning's, it does not count a validation within an epoch, where `max_samples` ended a run: a run that is
    extended stops where the longer one does.

    Args:
        monitor: The metric.
        mode: Whether larger or smaller is better.
        patience: Validations.
        min_delta: In the metric's unit, nats of bounds.
    """

    def __init__(
        self,
        monitor: str = "val/elbo",
        mode: Literal["max", "min"] = "max",
        patience: CountOrZero = 20,
        min_delta: NonNegative = 0.0,
    ) -> None:
        super().__init__(monitor, min_delta, patience, mode=mode, check_on_train_epoch_end=False)

    def on_validation_end(self, trainer: pl.Trainer, module: Any) -> None:
        if module.end is None:
            super().on_validation_end(trainer, module)

"""How the batches of any loader become minibatches that the model can take."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from aevb.data.loader import BatchLoader
from aevb.data.module import InMemoryDataModule
from aevb.inputs import as_block, as_condition, block_of_conditions
from aevb.networks import Part
from aevb.objectives import Objective
from aevb.training.steps import Inputs
from aevb.vae import VAE


class CheckedBatches(pl.LightningModule):
    """A `LightningModule` that checks and converts batches as `VAE` does; those of `aevb.data` once, before training.

    Args:
        vae: The model.
        objective: What is optimized.
    """

    def __init__(self, vae: VAE, objective: Objective) -> None:
        super().__init__()
        self.vae = vae
        self.objective = objective
        objective.connect(vae.p, vae.q)
        for part in vae.modules():
            if isinstance(part, Part):
                part.follow(objective)
        self.counts_data = objective.num_data is None
        self.checked: list[Tensor] = []

    @property
    def members(self) -> "Sequence[CheckedBatches]":
        """The runs that this module trains: itself alone, unless it is one of `aevb.training.members`."""
        return [self]

    def check_data(self, data: InMemoryDataModule) -> None:
        """Check all splits before training; raises a ValueError where the likelihood cannot score a datapoint."""
        for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
            self.check_loader(loader)

    def check_loader(self, loader: Any) -> None:
        """Check all datapoints of a `BatchLoader`, once; those that it draws as 0 or 1 suit every likelihood."""
        if not isinstance(loader, BatchLoader) or any(loader.x is x for x in self.checked):
            return
        self.check_conditions(loader.c, len(loader.x))
        for chunk in () if loader.binarize else loader.x.split(1000):
            self.vae.batch(chunk)
        self.checked.append(loader.x)

    def check_conditions(self, c: Any, count: int) -> None:
        """Check the conditions of `count` datapoints."""
        vae = self.vae
        c = as_condition(c, vae.condition_shape, count, vae.p.head.layer.weight, vae.condition_is_optional)
        if c is None:
            return
        hidden = c.reshape(len(c), -1).isnan().any(1)
        if bool(hidden.any()) and not self.objective.hidden_conditions:
            raise ValueError(
                f"the conditions of {int(hidden.sum()):,} of {count:,} datapoints are hidden, which "
                f"{type(self.objective).__name__} cannot use; use objective=semi_supervised, or data.num_labels=null"
            )
        vae.check_condition(c[~hidden])

    def blocks_from(self, batch: Any, loader: Any) -> Inputs:
        """The minibatches of a batch of a loader, checked unless it is a `BatchLoader`.

        Returns:
            x (K, B, *data_shape) and, where the model is given a condition, c (K, B, *condition_shape).
        """
        x = as_block(batch, self.vae.p.data_shape, self.vae.p.head.layer.weight)
        c, vae = None, self.vae
        if vae.condition_shape is not None:
            c = block_of_conditions(batch, vae.condition_shape, x, vae.condition_is_optional)
        if not isinstance(loader, BatchLoader):
            vae.p.head.check(x)
            if c is not None:
                self.check_conditions(c.flatten(0, 1), c.shape[0] * c.shape[1])
        return (x,) if c is None else (x, c)

    def count_data(self, loader: Any) -> None:
        """Tell the objective N, the size of the training set, where it is not set and can be known."""
        if isinstance(loader, BatchLoader) and loader.labelled_per_batch:
            for member in self.members:
                member.objective.num_labels = len(loader.labelled)
        if not self.counts_data:
            return
        with suppress(TypeError, AttributeError):  # data that are drawn forever have no length
            count = len(loader.x if isinstance(loader, BatchLoader) else loader.dataset)
            for member in self.members:
                member.objective.num_data = count

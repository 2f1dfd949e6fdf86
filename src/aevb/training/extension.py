"""The state to extend a run that `max_samples` has ended within an epoch or within a block."""

import copy
from typing import Any, NamedTuple

import pytorch_lightning as pl

from aevb.data import BatchLoader
from aevb.training.noise import Noise, gather_noise


class End(NamedTuple):
    """The end of training within an epoch; stored in the checkpoint."""

    loop: dict[str, Any]
    """State of Lightning's fit loop within the epoch, which Lightning counts as complete."""
    noise: list[Noise]
    """If the block was cut: the generators of each rank after the last minibatch; else empty."""


def end_of_training(trainer: pl.Trainer, unused: int, noise: Noise) -> End | None:
    """The end of training, called in the last `training_step`; None at the end of an epoch.

    Args:
        trainer: The trainer.
        unused: Minibatches of the current block that become the next block.
        noise: The states of this rank's generators after the last minibatch taken.
    """
    loader, is_cut = trainer.train_dataloader, False
    if unused and isinstance(loader, BatchLoader):
        loader.give_back(unused)
        is_cut = True
    elif trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
        return None
    loop = copy.deepcopy(trainer.fit_loop.state_dict())
    progress = loop["epoch_loop.batch_progress"]
    progress["is_last_batch"] = False
    # As in a checkpoint before the end of this batch or, if it is cut, of the previous one.
    shift = {"ready": -1, "started": -1, "completed": -1} if is_cut else {"processed": 1}
    for counts in (progress["total"], progress["current"]):
        for name, by in shift.items():
            counts[name] += by
    return End(loop, gather_noise(trainer, noise) if is_cut else [])

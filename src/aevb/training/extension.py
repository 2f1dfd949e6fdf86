"""What a run needs to be extended exactly where `max_samples` ended it: within an epoch, or within a block."""

import copy
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor

from aevb.data import BatchLoader

Noise = list[Tensor]
"""States of the random generators of one rank: the CPU's, then that of its GPU if it has one."""


class End(NamedTuple):
    """Where training ended within an epoch; kept in the checkpoint.

    Attributes:
        loop: State of Lightning's fit loop in the middle of the epoch. At the end of training Lightning itself counts
            the epoch as complete.
        noise: Where the block was cut, the generators of each rank after the last minibatch taken; else empty.
    """

    loop: dict[str, Any]
    noise: list[Noise]


def end_of_training(trainer: pl.Trainer, unused: int) -> End | None:
    """The end of training, as `training_step` takes its last minibatch; None at the end of an epoch.

    Args:
        trainer: Whose fit loop is inside `training_step`.
        unused: Minibatches of the present block that were not taken; they become the next block again.
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
    # As in a checkpoint at the end of a batch, which is not yet completed: this one, or where it is cut the one before.
    shift = {"ready": -1, "started": -1, "completed": -1} if is_cut else {"processed": 1}
    for counts in (progress["total"], progress["current"]):
        for name, by in shift.items():
            counts[name] += by
    return End(loop, gather_noise(trainer) if is_cut else [])


def gather_noise(trainer: pl.Trainer) -> list[Noise]:
    """The states of the generators of every rank, on every rank."""
    device = trainer.strategy.root_device
    mine = [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]
    if trainer.world_size == 1:
        return [mine]
    everyone: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(everyone, mine)
    return everyone


def restore_noise(noise: Noise, device: torch.device) -> None:
    """Set the generators to these states."""
    torch.set_rng_state(noise[0])
    if device.type == "cuda" and len(noise) > 1:
        torch.cuda.set_rng_state(noise[1], device)

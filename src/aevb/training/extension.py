"""The state to extend a run that `max_samples` has ended within an epoch or within a block."""

import copy
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor

from aevb.data import BatchLoader

Noise = list[Tensor]
"""States of the random generators of a rank: of the CPU, and of the GPU if it has one; of several members in turn."""


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


def current_noise(device: torch.device) -> Noise:
    """The states of the generators of this process."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def gather_noise(trainer: pl.Trainer, noise: Noise) -> list[Noise]:
    """The states of the generators of every rank, on every rank."""
    if trainer.world_size == 1:
        return [noise]
    gathered: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(gathered, noise)
    return gathered


def restore_noise(noise: Noise, device: torch.device) -> None:
    """Set the generators to these states."""
    torch.set_rng_state(noise[0])
    if device.type == "cuda" and len(noise) > 1:
        torch.cuda.set_rng_state(noise[1], device)

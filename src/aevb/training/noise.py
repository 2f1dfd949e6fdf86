"""The random generators from which training draws its noise: their seeds and their states."""

import hashlib
from functools import cache
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

Noise = list[Tensor]
"""States of the random generators of a rank: of the CPU, and of the GPU if it has one; of several members in turn."""

has_accelerator = cache(torch.accelerator.is_available)  # which opens a library at each call


def seed_noise(*key: int | str) -> None:
    """Seed torch's generators, on all devices, by a hash of the key."""
    seed = int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=4).digest())
    # torch.manual_seed takes a millisecond, for a stack trace of each missing kind of device.
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
        torch.default_generator.manual_seed(seed)
    elif has_accelerator():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


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

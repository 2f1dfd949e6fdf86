"""Binarization of grey values, and random generators for data."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

Binarization = Literal["none", "static", "dynamic", "threshold"]


def generator(*key: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A random generator for a key such as (seed, epoch); different keys give independent streams."""
    seed = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(seed))


def threshold(x: Tensor) -> Tensor:
    """White (True) where the value, uint8 in 0..255, bool or float, is above one half."""
    return x if x.dtype == torch.bool else x > (127 if x.dtype == torch.uint8 else 0.5)


def bernoulli(x: Tensor, rng: torch.Generator) -> Tensor:
    """Draw each value as white (True) with its grey value as the probability.

    Args:
        x: Probabilities: uint8 in 0..255 (of 255), bool (0 or 1), or floats in [0, 1].
        rng: A generator on the device of `x`.
    """
    if x.dtype == torch.bool:
        return x
    if x.dtype == torch.uint8:
        # Exact, and without a float: a uniform u in {0, …, 254} is below x with probability x / 255.
        return x > torch.randint(255, x.shape, dtype=torch.uint8, device=x.device, generator=rng)
    return torch.rand(x.shape, dtype=x.dtype, device=x.device, generator=rng) < x

"""How a network's output becomes a positive number: a scale, a rate or a concentration."""

import math

import torch
from torch import Tensor

MAX_SCALE = 1e6
"""Ceiling of every scale, far above that of any data: without it a wild network output would overflow."""


def positive(raw: Tensor, floor: float, ceiling: float = MAX_SCALE) -> Tensor:
    """floor + exp(raw), with the exponential cut off at `ceiling`: finite and positive for every finite `raw`.

    The floor is smooth: log(floor + exp(raw)) = log floor + softplus(raw − log floor), which leaves values well above
    the floor as they are, and its gradient never jumps.
    """
    return torch.exp(raw.clamp(max=math.log(ceiling))) + floor

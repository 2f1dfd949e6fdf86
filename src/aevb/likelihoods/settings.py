"""Settings of the heads: their checks, and how a network's output becomes a positive number."""

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


def check_number(name: str, value: float, above: float = 0.0, below: float = math.inf) -> float:
    """`value`, if it is a number in the open interval (above, below).

    Raises:
        ValueError: it is not.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number and above < value < below):
        if below < math.inf:
            wanted = f"a number between {above:g} and {below:g}"
        else:
            wanted = "a positive number" if above == 0 else f"a number above {above:g}"
        raise ValueError(f"likelihood.{name} must be {wanted}, got {value!r}")
    return float(value)


def check_count(name: str, value: int, at_least: int) -> int:
    """`value`, if it is a whole number of at least `at_least`.

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise ValueError(f"likelihood.{name} must be a whole number of at least {at_least}, got {value!r}")
    return value


def check_flag(name: str, value: bool) -> bool:
    """`value`, if it is true or false.

    Raises:
        ValueError: it is not; a string such as "no" would count as true.
    """
    if not isinstance(value, bool):
        raise ValueError(f"likelihood.{name} must be true or false, got {value!r}")
    return value

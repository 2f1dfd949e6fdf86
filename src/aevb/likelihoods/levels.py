"""Data on evenly spaced levels in [0, 1], such as the 256 grey levels k/255 of an image."""

import torch
from torch import Tensor
from torch.distributions import constraints

TOLERANCE = 1e-3
"""In levels; k/255 in float32 is off by less than 1e-4."""


class Levels(constraints.Constraint):
    """The values k / (levels − 1), k = 0 … levels − 1, up to rounding in float32."""

    is_discrete = True

    def __init__(self, levels: int) -> None:
        self.levels = levels
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        """Which values lie on a level: a boolean tensor of the shape of `value`."""
        k = value * (self.levels - 1)
        return ((k - k.round()).abs() < TOLERANCE) & (k > -TOLERANCE) & (k < self.levels - 1 + TOLERANCE)

    def __str__(self) -> str:
        return f"{{0, 1/{self.levels - 1}, …, 1}}" if self.levels > 2 else "{0, 1}"


def level_of(value: Tensor, levels: int) -> Tensor:
    """k of the value k / (levels − 1): integers of its shape."""
    return torch.round(value * (levels - 1)).long()

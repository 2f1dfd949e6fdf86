"""Masks of observed pixels."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from aevb.types import AtLeastTwo, Checked, Fraction


class Mask(Checked, ABC):
    """Selects the observed pixels, with all their channels."""

    @abstractmethod
    def observed(self, count: int, data_shape: Sequence[int]) -> Tensor:
        """Booleans that broadcast to (count, C, H, W), for data_shape (C, H, W)."""


@dataclass(frozen=True)
class Half(Mask):
    """One half of the image is missing.

    Args:
        side: The missing half. With an odd number of pixels, the middle one is observed.
    """

    side: Literal["left", "right", "top", "bottom"] = "left"

    def observed(self, count: int, data_shape: Sequence[int]) -> Tensor:
        _, height, width = data_shape
        size = width if self.side in ("left", "right") else height
        position = torch.arange(size)
        seen = position >= size // 2 if self.side in ("left", "top") else position < size - size // 2
        return seen.view(1, 1, 1, -1) if self.side in ("left", "right") else seen.view(1, 1, -1, 1)


@dataclass(frozen=True)
class Centre(Mask):
    """A rectangle in the middle is missing, a share of the image's height and width."""

    share: Fraction = 0.5

    def observed(self, count: int, data_shape: Sequence[int]) -> Tensor:
        rows, columns = ((torch.arange(size) - (size - 1) / 2).abs() < self.share * size / 2 for size in data_shape[1:])
        return ~(rows.view(1, 1, -1, 1) & columns.view(1, 1, 1, -1))


@dataclass(frozen=True)
class RandomPixels(Mask):
    """Pixels are missing with probability `share`, independently of each other and in each image."""

    share: Fraction = 0.8

    def observed(self, count: int, data_shape: Sequence[int]) -> Tensor:
        return torch.rand(count, 1, *data_shape[1:]) >= self.share


@dataclass(frozen=True)
class Lattice(Mask):
    """Only every `factor`-th pixel of every `factor`-th row is observed: an image of lower resolution."""

    factor: AtLeastTwo = 2

    def observed(self, count: int, data_shape: Sequence[int]) -> Tensor:
        _, height, width = data_shape
        rows, columns = (torch.arange(size) % self.factor == self.factor // 2 for size in (height, width))
        return rows.view(1, 1, -1, 1) & columns.view(1, 1, 1, -1)

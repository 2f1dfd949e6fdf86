"""Images of a shape whose factors of variation are known."""

import math
from typing import Any

import torch
from torch import Tensor

from aevb.data.module import InMemoryDataModule, Split, Splits, split_at_random
from aevb.types import AtLeastTwo, Count

RADIUS = 0.2
"""Of the largest shape, as a share of the side of the image."""

SMALLEST = 0.5
"""Scale of the smallest shape; the largest has 1."""

HEART = 1.43
"""The largest distance from the origin on the curve (u² + v² − 1)³ = u² v³, rounded up."""


class Sprites(InMemoryDataModule):
    """Black-and-white images of a white shape, one for each combination of five factors; the labels are the factors.

    y (N, 5) has the indices of shape (square, ellipse, heart), scale (½ to 1), orientation (from 0 to a full turn), and
    position of the centre, from left to right and from top to bottom. Where one label is needed, it is the shape. As in
    the source, a square is the same after a quarter turn and an ellipse after half a turn, so not all orientations can
    be told apart.

    Rendering is deterministic: a pixel is white where its centre is within the shape. A tenth of the images each are
    for validation and test, by `split_seed`.

    Source of the factors: dSprites, Matthey, Higgins, Hassabis & Lerchner (2017), which has 6 scales, 40 orientations
    and 32 positions at a side of 64. The images are drawn here and are not the same.

    Args:
        side: Pixels of a side of the image.
        scales: Number of scales.
        orientations: Number of orientations.
        positions: Number of positions along each axis.
        kwargs: See `InMemoryDataModule`.
    """

    def __init__(
        self, side: AtLeastTwo = 32, scales: Count = 4, orientations: Count = 10, positions: Count = 8, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.side = side
        self.scales = scales
        self.orientations = orientations
        self.positions = positions

    @property
    def factor_sizes(self) -> tuple[int, ...]:
        """The number of values of each factor."""
        return len(SHAPES), self.scales, self.orientations, self.positions, self.positions

    def load(self) -> Splits:
        """Draw the images."""
        factors = torch.cartesian_prod(*(torch.arange(size) for size in self.factor_sizes))
        places = self.positions**2  # of each shape, scale and orientation in a row
        images = [self.render(part) for part in factors.split(places)]
        held_out = max(1, len(factors) // 10)
        return split_at_random(Split(torch.cat(images), factors), held_out, held_out, self.split_seed)

    def render(self, factors: Tensor) -> Tensor:
        """Images of factors (N, 5): (N, 1, side, side), bool."""
        shape, *others = factors.T
        scale = SMALLEST + (1 - SMALLEST) * self.share(others[0], self.scales)
        angle = 2 * math.pi * others[1].double() / self.orientations
        margin = RADIUS * self.side
        x, y = (margin + (self.side - 2 * margin) * self.share(place, self.positions) for place in others[2:])
        centres = torch.arange(self.side, dtype=torch.float64) + 0.5
        across = (centres.view(1, 1, -1) - x.view(-1, 1, 1)) / (margin * scale).view(-1, 1, 1)
        up = (y.view(-1, 1, 1) - centres.view(1, -1, 1)) / (margin * scale).view(-1, 1, 1)
        cosine, sine = angle.cos().view(-1, 1, 1), angle.sin().view(-1, 1, 1)
        u, v = cosine * across + sine * up, cosine * up - sine * across
        drawn = torch.empty(u.shape, dtype=torch.bool)
        for number, within in enumerate(SHAPES):
            chosen = shape == number
            drawn[chosen] = within(u[chosen], v[chosen])
        return drawn.unsqueeze(1)

    @staticmethod
    def share(index: Tensor, size: int) -> Tensor:
        """Where an index is between the first, 0, and the last, 1; ½ if there is one only."""
        return index.double() / (size - 1) if size > 1 else torch.full(index.shape, 0.5, dtype=torch.float64)


def square(u: Tensor, v: Tensor) -> Tensor:
    """Which points are within a square whose corners are on the unit circle."""
    return torch.maximum(u.abs(), v.abs()) <= math.sqrt(0.5)


def ellipse(u: Tensor, v: Tensor) -> Tensor:
    """Which points are within an ellipse of semi-axes 1 and ½."""
    return u.square() + 4 * v.square() <= 1


def heart(u: Tensor, v: Tensor) -> Tensor:
    """Which points are within the curve (u² + v² − 1)³ = u² v³, scaled into the unit disc."""
    u, v = HEART * u, HEART * v
    return (u.square() + v.square() - 1) ** 3 <= u.square() * v**3


SHAPES = (square, ellipse, heart)
"""In the order of their labels."""

"""Distributions over evenly spaced levels in [0, 1], such as the 256 grey levels k/255 of an image."""

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution, constraints

from aevb.distributions.categorical import draw_categories
from aevb.distributions.logistic import LogisticDistribution

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


class LevelDistribution(Distribution):
    """A categorical distribution over the values k / (levels − 1), whose logits lie along one axis.

    torch's `Categorical` needs them along the last axis; here they stay in the network's layout, before the axes of the
    data, where normalizing them is four times as fast.

    Args:
        logits: Unnormalized log-probabilities.
        axis: Counted from the end, hence negative.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(self, logits: Tensor, axis: int) -> None:
        self.logits, self.axis = logits, axis
        self.levels = logits.shape[axis]
        super().__init__(logits.shape[:axis] + logits.shape[axis:][1:], validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        return Levels(self.levels)

    @property
    def mean(self) -> Tensor:
        values = torch.linspace(0, 1, self.levels, dtype=self.logits.dtype, device=self.logits.device)
        return (self.logits.softmax(self.axis) * values.unflatten(0, (-1, *(-1 - self.axis) * [1]))).sum(self.axis)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return draw_categories(self.logits, self.axis, sample_shape).to(self.logits.dtype) / (self.levels - 1)

    def log_prob(self, value: Tensor) -> Tensor:
        log_probs = self.logits.log_softmax(self.axis)
        level, log_probs = torch.broadcast_tensors(level_of(value, self.levels).unsqueeze(self.axis), log_probs)
        return log_probs.gather(self.axis, level.narrow(self.axis, 0, 1)).squeeze(self.axis)


class DiscretizedLogisticDistribution(Distribution):
    """Probabilities of the levels k / (levels − 1) under a logistic distribution whose tails fall to the end levels."""

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(self, loc: Tensor, scale: Tensor, levels: int) -> None:
        self.loc, self.scale, self.levels = loc, scale, levels
        self.half_level = 0.5 / (levels - 1)
        super().__init__(torch.broadcast_shapes(loc.shape, scale.shape), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        return Levels(self.levels)

    @property
    def mean(self) -> Tensor:
        """Σ_k P(x ≥ level k) / (levels − 1) over k ≥ 1, term by term: exact but slow, for pictures."""
        total = torch.zeros(self.batch_shape, dtype=self.loc.dtype, device=self.loc.device)
        for k in range(1, self.levels):
            total += torch.sigmoid((self.loc - (2 * k - 1) * self.half_level) / self.scale)
        return total / (self.levels - 1)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        x = LogisticDistribution(self.loc, self.scale, validate_args=False).sample(torch.Size(sample_shape))
        return (x.clamp(0, 1) * (self.levels - 1)).round() / (self.levels - 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """With y = (x − μ)/s and h = δ/s the difference of sigmoids is σ(h + y) σ(h − y) (1 − e^−2h), exactly."""
        y = (value - self.loc) / self.scale
        h = self.half_level / self.scale
        below_top, above_bottom = value < 1 - self.half_level, value > self.half_level
        return (
            F.logsigmoid(h + y) * below_top
            + F.logsigmoid(h - y) * above_bottom
            + torch.log(-torch.expm1(-2 * h)) * (below_top & above_bottom)
        )

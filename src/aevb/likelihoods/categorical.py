"""Categorical likelihood over grey levels."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import Distribution, constraints

from aevb.likelihoods.base import Likelihood
from aevb.likelihoods.levels import Levels, level_of
from aevb.types import AtLeastTwo


class Categorical(Likelihood):
    """P(x|z) = Π_i softmax(f_i(z))[k_i], k = (levels − 1) x: a free probability for every level of every value.

    It can have any shape, and knows nothing of the order of the levels. Its layer has `levels` outputs for every
    value: with 500 hidden units 100 million weights at 28×28 and 256 levels; a feature map needs far fewer.

    Source: van den Oord, Kalchbrenner & Kavukcuoglu, Pixel recurrent neural networks (2016), section 3.

    Shapes: h (S, B, *in_shape) → batch (S, B), event `data_shape`.

    Args:
        levels: The data are multiples of 1 / (levels − 1) in [0, 1].

    Raises:
        ValueError: levels is not a whole number of at least 2.
    """

    discrete = True

    def __init__(self, in_shape: Sequence[int], data_shape: Sequence[int], levels: AtLeastTwo = 256) -> None:
        super().__init__(in_shape, data_shape, parameters_per_value=levels)
        self.levels = levels
        self.support = Levels(levels)

    def project(self, h: Tensor) -> tuple[Tensor, ...]:
        """Logits of the levels: (S, B, levels, *data_shape)."""
        return (self.output(h),)

    def distribution(self, logits: Tensor) -> Distribution:
        return LevelDistribution(logits, axis=-1 - len(self.data_shape))


class LevelDistribution(Distribution):
    """A categorical distribution over the values k / (levels − 1), whose logits lie along one axis.

    torch's `Categorical` wants them along the last one; here they stay where the network puts them, before the axes of
    the data, where the normalization over them is four times as fast.

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
        level = TorchCategorical(logits=self.logits.movedim(self.axis, -1), validate_args=False)
        return level.sample(torch.Size(sample_shape)).to(self.logits.dtype) / (self.levels - 1)

    def log_prob(self, value: Tensor) -> Tensor:
        log_probs = self.logits.log_softmax(self.axis)
        level, log_probs = torch.broadcast_tensors(level_of(value, self.levels).unsqueeze(self.axis), log_probs)
        return log_probs.gather(self.axis, level.narrow(self.axis, 0, 1)).squeeze(self.axis)

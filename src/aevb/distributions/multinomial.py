"""The multinomial distribution of counts, given their total."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints


class MultinomialDistribution(Distribution):
    """P(x|n) = n! Π_i π_i^x_i / x_i!, n = Σ_i x_i: a density given the total n of the x that is scored.

    Shapes: batch that of π without the values of x, event the shape of x.

    Args:
        log_probs: log π (..., *data_shape), normalized.
        dims: The number of dimensions of x.
        length: n of draws, and of the mean.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.nonnegative_integer

    def __init__(self, log_probs: Tensor, dims: int, length: int) -> None:
        self.log_probs, self.length = log_probs, length
        super().__init__(log_probs.shape[:-dims], log_probs.shape[-dims:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.length * self.log_probs.exp()

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Counts of n draws by the inverse of the cumulative probabilities; torch's waits for the device."""
        below = self.log_probs.flatten(len(self.batch_shape)).exp().cumsum(-1)
        below = below.expand(*sample_shape, *below.shape).contiguous()
        uniform = torch.rand(*below.shape[:-1], self.length, dtype=below.dtype, device=below.device)
        drawn = torch.searchsorted(below, uniform * below[..., -1:]).clamp_(max=below.shape[-1] - 1)
        counts = torch.zeros_like(below).scatter_add_(-1, drawn, torch.ones_like(uniform))
        return counts.unflatten(-1, self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        axes = tuple(range(-len(self.event_shape), 0))
        return (value * self.log_probs).sum(axes) + log_orders(value, len(self.event_shape))


def log_orders(counts: Tensor, dims: int) -> Tensor:
    """log n! / Π_i x_i!, the number of sequences that have the counts x (..., *data_shape), (...)."""
    axes = tuple(range(-dims, 0))
    return torch.lgamma(counts.sum(axes) + 1) - torch.lgamma(counts + 1).sum(axes)

"""Mixtures of distributions."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily, constraints

from aevb.distributions.categorical import draw_categories
from aevb.distributions.gaussian import GaussianDistribution


class Mixture(MixtureSameFamily):
    """`MixtureSameFamily` without a batch, which draws from each component only as often as needed."""

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws as many samples of each component as the most frequent one needs; its r-th choice takes the r-th."""
        with torch.no_grad():
            chosen = self.mixture_distribution.sample((math.prod(sample_shape),))
            counts = chosen.bincount(minlength=self.component_distribution.batch_shape[0])
            order = chosen.argsort(stable=True)
            rank = torch.empty_like(chosen)
            rank[order] = torch.arange(len(chosen), device=chosen.device) - (counts.cumsum(0) - counts)[chosen[order]]
            draws = self.component_distribution.sample((int(counts.max()),))
            return draws[rank, chosen].unflatten(0, tuple(sample_shape)) if sample_shape else draws[rank, chosen][0]


class MixtureAlongAxis(Distribution):
    """The mixture of a batch of elementwise distributions along one axis of the batch.

    torch's `MixtureSameFamily` mixes along the last axis only. Here the components stay in the network's layout, before
    the axes of the data, where sums over them are more than twice as fast.

    Args:
        logits: Unnormalized log-weights, of the batch's shape.
        components: The distributions that are mixed.
        axis: Counted from the end, hence negative.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(self, logits: Tensor, components: Distribution, axis: int) -> None:
        self.logits, self.components, self.axis = logits, components, axis
        batch_shape = components.batch_shape
        super().__init__(batch_shape[:axis] + batch_shape[axis:][1:], validate_args=False)

    @property
    def support(self) -> constraints.Constraint | None:
        return self.components.support

    @property
    def mean(self) -> Tensor:
        return (self.logits.softmax(self.axis) * self.components.mean).sum(self.axis)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        draws = self.components.sample(torch.Size(sample_shape))
        chosen = draw_categories(self.logits, self.axis, sample_shape).unsqueeze(self.axis)
        return draws.gather(self.axis, chosen).squeeze(self.axis)

    def log_prob(self, value: Tensor) -> Tensor:
        log_weights = self.logits.log_softmax(self.axis)
        return torch.logsumexp(log_weights + self.components.log_prob(value.unsqueeze(self.axis)), self.axis)


class GaussianUniformDistribution(Distribution):
    """w U(0, 1) + (1 − w) N(loc, scale²), elementwise, with w = sigmoid(weight_logit), a scalar."""

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.real

    def __init__(self, loc: Tensor, scale: Tensor, weight_logit: Tensor) -> None:
        self.gaussian = GaussianDistribution(loc, scale)
        self.weight_logit = weight_logit
        super().__init__(self.gaussian.batch_shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return torch.lerp(self.gaussian.loc, torch.full_like(self.gaussian.loc, 0.5), self.weight_logit.sigmoid())

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        gaussian = self.gaussian.sample(torch.Size(sample_shape))
        from_uniform = torch.rand_like(gaussian) < self.weight_logit.sigmoid()
        return torch.where(from_uniform, torch.rand_like(gaussian), gaussian)

    def log_prob(self, value: Tensor) -> Tensor:
        uniform = torch.where((value >= 0) & (value <= 1), F.logsigmoid(self.weight_logit), -math.inf)
        return torch.logaddexp(self.gaussian.log_prob(value) + F.logsigmoid(-self.weight_logit), uniform)

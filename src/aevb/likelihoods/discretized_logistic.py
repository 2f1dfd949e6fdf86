"""Discretized logistic likelihoods: probabilities of grey levels."""

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import Distribution, constraints

from aevb.distributions.logistic import LogisticDistribution
from aevb.likelihoods.base import Likelihood
from aevb.likelihoods.levels import Levels
from aevb.likelihoods.positive import positive
from aevb.types import AtLeastTwo, Positive, Size


class DiscretizedLogistic(Likelihood):
    """P(x|z) = Π_i [ σ((x_i + δ − μ_i) / s_i) − σ((x_i − δ − μ_i) / s_i) ], δ half a level, σ the sigmoid.

    The bins of black and white take the tails: the first term is 1 at x = 1, the second 0 at x = 0. μ = f₁(z) is not
    bounded, so that all the mass may lie in either; s = min_scale + exp f₂(z).

    Source: Salimans, Karpathy, Chen & Kingma, PixelCNN++ (2017), section 2.1, with one component; Kingma et al.,
    Improved variational inference with inverse autoregressive flow (2016), appendix.

    Shapes: h (S, B, *in_shape) → batch (S, B), event `data_shape`.

    Args:
        levels: The data are multiples of 1 / (levels − 1) in [0, 1].
        min_scale: Floor of s; at 1/1000 a level has a probability of at most 0.75, at the default of 0.96.

    Raises:
        ValueError: levels is not a whole number of at least 2, or min_scale is not positive.
    """

    discrete = True

    def __init__(
        self, in_shape: Sequence[int], data_shape: Sequence[int], levels: AtLeastTwo = 256, min_scale: Positive = 5e-4
    ) -> None:
        super().__init__(in_shape, data_shape, parameters_per_value=2)
        self.levels = levels
        self.min_scale = min_scale
        self.support = Levels(levels)

    def distribution(self, location: Tensor, scale: Tensor) -> Distribution:
        return DiscretizedLogisticDistribution(location, positive(scale, self.min_scale), self.levels)


class DiscretizedLogisticMixture(Likelihood):
    """P(x|z) = Π_i Σ_k π_ik P(x_i; μ_ik, s_ik): K discretized logistics for every value, see `DiscretizedLogistic`.

    π = softmax f₁(z), μ = f₂(z), s = min_scale + exp f₃(z). Each colour channel has a mixture of its own, independent
    of the others given z; PixelCNN++'s means that depend on the other channels of the pixel are left out.

    Source: Salimans, Karpathy, Chen & Kingma, PixelCNN++ (2017), section 2.1.

    Shapes: h (S, B, *in_shape) → batch (S, B), event `data_shape`.

    Args:
        components: K.
        levels, min_scale: See `DiscretizedLogistic`.

    Raises:
        ValueError: components or levels is no whole number, or too small, or min_scale is not positive.
    """

    discrete = True

    def __init__(
        self,
        in_shape: Sequence[int],
        data_shape: Sequence[int],
        components: Size = 5,
        levels: AtLeastTwo = 256,
        min_scale: Positive = 5e-4,
    ) -> None:
        super().__init__(in_shape, data_shape, parameters_per_value=3 * components)
        self.components = components
        self.levels = levels
        self.min_scale = min_scale
        self.support = Levels(levels)

    def project(self, h: Tensor) -> tuple[Tensor, ...]:
        """Logits of the weights, locations and log-scales: (S, B, K, *data_shape) each."""
        return self.output(h).unflatten(self.axis, (3, self.components)).unbind(self.axis - 1)

    @property
    def axis(self) -> int:
        """Where the components are, counted from the end."""
        return -1 - len(self.data_shape)

    def distribution(self, logits: Tensor, location: Tensor, scale: Tensor) -> Distribution:
        components = DiscretizedLogisticDistribution(location, positive(scale, self.min_scale), self.levels)
        return MixtureAlongAxis(logits, components, self.axis)


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
        """Σ_k P(x ≥ level k) / (levels − 1) over k ≥ 1, term by term: exact, for pictures rather than for training."""
        total = torch.zeros(self.batch_shape, dtype=self.loc.dtype, device=self.loc.device)
        for k in range(1, self.levels):
            total += torch.sigmoid((self.loc - (2 * k - 1) * self.half_level) / self.scale)
        return total / (self.levels - 1)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        x = LogisticDistribution(self.loc, self.scale, validate_args=False).sample(torch.Size(sample_shape))
        return (x.clamp(0, 1) * (self.levels - 1)).round() / (self.levels - 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """With y = (x − μ)/s and h = δ/s the difference of sigmoids is σ(h + y) σ(h − y) (1 − e^−2h), without loss."""
        y = (value - self.loc) / self.scale
        h = self.half_level / self.scale
        below_top, above_bottom = value < 1 - self.half_level, value > self.half_level
        return (
            F.logsigmoid(h + y) * below_top
            + F.logsigmoid(h - y) * above_bottom
            + torch.log(-torch.expm1(-2 * h)) * (below_top & above_bottom)
        )


class MixtureAlongAxis(Distribution):
    """The mixture of a batch of elementwise distributions along one axis of the batch.

    What torch's `MixtureSameFamily` does along the last axis. Here the components may stay where the network puts them,
    before the axes of the data, where sums over them are more than twice as fast.

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
        weights = TorchCategorical(logits=self.logits.movedim(self.axis, -1), validate_args=False)
        chosen = weights.sample(torch.Size(sample_shape)).unsqueeze(self.axis)
        return draws.gather(self.axis, chosen).squeeze(self.axis)

    def log_prob(self, value: Tensor) -> Tensor:
        log_weights = self.logits.log_softmax(self.axis)
        return torch.logsumexp(log_weights + self.components.log_prob(value.unsqueeze(self.axis)), self.axis)

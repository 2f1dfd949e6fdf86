"""A Gaussian mixed with a uniform: a robust likelihood for pixels."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from aevb.likelihoods.base import Likelihood
from aevb.likelihoods.gaussian import GaussianDistribution, standard_deviation
from aevb.types import Fraction, Positive


class GaussianUniformMixture(Likelihood):
    """p(x|z) = Π_i [ w + (1 − w) N(x_i; μ_i, σ_i²) ] on [0, 1], μ = sigmoid(f₁(z)), σ² = exp f₂(z) + min_scale².

    The uniform explains a pixel that the network gets wrong, at a cost of at most −log w, so that single pixels cannot
    dominate. The Gaussian is not truncated: outside [0, 1] the density is its share alone. w is one number.

    Source: the pixel head of the authors' code that followed Kingma & Welling (2013), where a Gaussian whose mean is
    bounded is mixed with a uniform.

    Shapes: h (S, B, *in_shape) → batch (S, B), event `data_shape`.

    Args:
        uniform_weight: w, at the start where it is learned.
        learn_uniform_weight: Learn w, as the sigmoid of a parameter.
        min_scale: Floor of σ.

    Raises:
        ValueError: uniform_weight is not between 0 and 1, min_scale is not positive, or the flag not true or false.
    """

    support = constraints.unit_interval

    def __init__(
        self,
        in_shape: Sequence[int],
        data_shape: Sequence[int],
        uniform_weight: Fraction = 0.05,
        learn_uniform_weight: bool = True,
        min_scale: Positive = 1e-3,
    ) -> None:
        super().__init__(in_shape, data_shape, parameters_per_value=2)
        weight = uniform_weight
        learned = learn_uniform_weight
        self.weight_logit = nn.Parameter(torch.tensor(math.log(weight / (1 - weight))), requires_grad=learned)
        self.min_scale = min_scale

    def distribution(self, mean: Tensor, log_variance: Tensor) -> Distribution:
        scale = standard_deviation(log_variance, self.min_scale)
        return GaussianUniformDistribution(mean.sigmoid(), scale, self.weight_logit)


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

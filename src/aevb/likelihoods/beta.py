"""Beta likelihood."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Beta as TorchBeta
from torch.distributions import Distribution, constraints

from aevb.likelihoods.base import Likelihood
from aevb.likelihoods.positive import positive

MARGIN = 1 / 510
"""Half a grey level of 255."""

MIN_CONCENTRATION = 0.01

MAX_CONCENTRATION = 1e4
"""A standard deviation of 0.005 at most; beyond, float32 loses the difference of the log-gamma functions."""


class Beta(Likelihood):
    """p(x|z) = Π_i Beta(t_i; α_i, β_i) / (1 + 2δ), t = (x + δ) / (1 + 2δ), α = 0.01 + exp f₁(z), β = 0.01 + exp f₂(z).

    A beta density on [0, 1] is 0 or infinite at black and white. It is therefore stretched to [−δ, 1 + δ], with
    δ = 1/510, half a grey level: the 256 levels k/255 become the middles of 256 equal bins. The concentrations are
    limited to 10⁴.

    Source: Kingma & Welling (2013), section 2.4, names the family; its density by grey level follows Smithson &
    Verkuilen, A better lemon squeezer? (2006), who move data off the borders in the same way.

    Shapes: h (S, B, *in_shape) → batch (S, B), event `data_shape`.
    """

    support = constraints.unit_interval

    def __init__(self, in_shape: Sequence[int], data_shape: Sequence[int]) -> None:
        super().__init__(in_shape, data_shape, parameters_per_value=2)

    def distribution(self, log_alpha: Tensor, log_beta: Tensor) -> Distribution:
        alpha, beta = (positive(raw, MIN_CONCENTRATION, MAX_CONCENTRATION) for raw in (log_alpha, log_beta))
        return StretchedBetaDistribution(alpha, beta, validate_args=False)


class StretchedBetaDistribution(TorchBeta):
    """The beta distribution, stretched linearly from [0, 1] to [−δ, 1 + δ]."""

    support = constraints.interval(-MARGIN, 1 + MARGIN)

    @property
    def mean(self) -> Tensor:
        return super().mean * (1 + 2 * MARGIN) - MARGIN

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return super().rsample(torch.Size(sample_shape)) * (1 + 2 * MARGIN) - MARGIN

    def log_prob(self, value: Tensor) -> Tensor:
        alpha, beta = self.concentration1, self.concentration0
        t = (value + MARGIN) / (1 + 2 * MARGIN)
        log_beta_function = torch.lgamma(alpha) + torch.lgamma(beta) - torch.lgamma(alpha + beta)
        kernel = (alpha - 1) * t.log() + (beta - 1) * torch.log1p(-t)
        return kernel - log_beta_function - math.log1p(2 * MARGIN)

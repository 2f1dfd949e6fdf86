"""The beta distribution on an interval slightly wider than [0, 1]."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Beta as TorchBeta
from torch.distributions import constraints

MARGIN = 1 / 510
"""Half a grey level of 255."""


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

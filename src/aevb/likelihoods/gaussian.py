"""Gaussian likelihoods."""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution, Normal, constraints

from aevb.likelihoods.base import Likelihood


class Gaussian(Likelihood):
    """p(x|z) = N(x; μ(z), diag σ²(z)), with a variance for every value and input.

    The mean is linear in the features, or squashed into (0, 1) by a sigmoid where `bounded`; the log-variance is linear.
    A value that never varies in the data would drive its density to infinity, so σ is kept above `min_scale` by a
    smooth floor: log σ² = log min_scale² + softplus(f(z) − log min_scale²), which leaves larger scales as they are.

    Source: Kingma & Welling (2013), appendix C.2; the sigmoid is its choice for Frey Face (section 5).

    Shapes: h (S, B, *in_shape) → batch (S, B), event `data_shape`.

    Raises:
        ValueError: min_scale is not positive.
    """

    support = constraints.real

    def __init__(
        self, in_shape: Sequence[int], data_shape: Sequence[int], bounded: bool = True, min_scale: float = 1e-3
    ) -> None:
        super().__init__(in_shape, data_shape, parameters_per_value=2)
        if not min_scale > 0:
            raise ValueError(f"likelihood.min_scale must be positive, got {min_scale}")
        self.bounded = bounded
        self.min_log_variance = 2 * math.log(min_scale)

    def distribution(self, mean: Tensor, log_variance: Tensor) -> Distribution:
        mean = mean.sigmoid() if self.bounded else mean
        log_variance = self.min_log_variance + F.softplus(log_variance - self.min_log_variance)
        return Normal(mean, (0.5 * log_variance).exp(), validate_args=False)

"""Likelihoods of counts: Poisson and negative binomial."""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor, nn
from torch.distributions import Distribution, constraints
from torch.distributions import NegativeBinomial as NegativeBinomialDistribution
from torch.distributions import Poisson as PoissonDistribution

from aevb.likelihoods.base import Likelihood, positive

MIN_RATE, MAX_RATE = 1e-6, 1e6

MIN_DISPERSION = 0.01

MAX_DISPERSION = 1e3
"""Here the negative binomial is close to a Poisson; beyond, float32 loses the difference of the log-gamma functions."""


class Poisson(Likelihood):
    """log P(x|z) = Σ_i x_i log λ_i − λ_i − log x_i!, λ = exp f(z), kept between 10⁻⁶ and 10⁶.

    Source: the generalized linear model of counts with its canonical link; as a decoder for instance in Liang et al.,
    Variational autoencoders for collaborative filtering (2018), among the likelihoods compared.
    """

    support = constraints.nonnegative_integer
    discrete = True

    def __init__(self, in_shape: Sequence[int], data_shape: Sequence[int]) -> None:
        super().__init__(in_shape, data_shape, parameters_per_value=1)

    def distribution(self, log_rate: Tensor) -> Distribution:
        return PoissonDistribution(positive(log_rate, MIN_RATE, MAX_RATE), validate_args=False)


class NegativeBinomial(Likelihood):
    """P(x|z) = Π_i Γ(x_i + r_i) / (Γ(r_i) x_i!) · (r_i / (r_i + μ_i))^r_i (μ_i / (r_i + μ_i))^x_i, mean μ = exp f(z).

    The variance is μ + μ²/r: counts that scatter more than a Poisson's. r is learned for every value of x, the same for
    all inputs, and stays between 0.01 and 1000.

    Source: Lopez et al., Deep generative modeling for single-cell transcriptomics (2018), without its zero inflation.

    Args:
        dispersion: r when training starts.
    """

    support = constraints.nonnegative_integer
    discrete = True

    def __init__(
        self,
        in_shape: Sequence[int],
        data_shape: Sequence[int],
        dispersion: Annotated[float, Interval(gt=MIN_DISPERSION, lt=MAX_DISPERSION)] = 10.0,
    ) -> None:
        super().__init__(in_shape, data_shape, parameters_per_value=1)
        self.log_dispersion = nn.Parameter(torch.full(self.data_shape, math.log(dispersion - MIN_DISPERSION)))

    def distribution(self, log_mean: Tensor) -> Distribution:
        dispersion = positive(self.log_dispersion, MIN_DISPERSION, MAX_DISPERSION)
        logits = positive(log_mean, MIN_RATE, MAX_RATE).log() - dispersion.log()
        return NegativeBinomialDistribution(dispersion, logits=logits, validate_args=False)

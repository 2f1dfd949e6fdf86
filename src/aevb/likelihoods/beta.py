"""Beta likelihood."""

from collections.abc import Sequence

from torch import Tensor
from torch.distributions import Distribution, constraints

from aevb.distributions.beta import StretchedBetaDistribution
from aevb.likelihoods.base import Likelihood, positive

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
    """

    support = constraints.unit_interval

    def __init__(self, in_shape: Sequence[int], data_shape: Sequence[int]) -> None:
        super().__init__(in_shape, data_shape, parameters_per_value=2)

    def distribution(self, log_alpha: Tensor, log_beta: Tensor) -> Distribution:
        alpha, beta = (positive(raw, MIN_CONCENTRATION, MAX_CONCENTRATION) for raw in (log_alpha, log_beta))
        return StretchedBetaDistribution(alpha, beta, validate_args=False)

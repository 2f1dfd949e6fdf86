"""Posteriors of independent dimensions with a location and a scale each."""

from torch import Tensor
from torch.distributions import Distribution, Independent
from torch.distributions import Laplace as LaplaceDistribution

from aevb.distributions.logistic import LogisticDistribution
from aevb.posteriors.base import Posterior


class Laplace(Posterior):
    """q(z|x) = Π_j Laplace(z_j; μ_j(x), b_j(x)), sampled as z = μ − b sign(u) log(1 − 2 |u|), u uniform on (−½, ½).

    μ and log b are linear in the encoder's features. Its variance is 2 b².

    Source: Kingma & Welling (2013), section 2.4 (location-scale).
    """

    def __init__(self, in_features: int, latent_dim: int) -> None:
        super().__init__(in_features, latent_dim, num_parameters=2 * latent_dim)

    def distribution(self, parameters: Tensor) -> Distribution:
        loc, log_scale = parameters.chunk(2, dim=-1)
        return Independent(LaplaceDistribution(loc, log_scale.exp(), validate_args=False), 1, validate_args=False)


class Logistic(Posterior):
    """q(z|x) = Π_j Logistic(z_j; μ_j(x), s_j(x)), sampled as z = μ + s log(u / (1 − u)), u uniform on (0, 1).

    μ and log s are linear in the encoder's features. Its variance is π² s² / 3.

    Source: Kingma & Welling (2013), section 2.4 (tractable inverse CDF).
    """

    def __init__(self, in_features: int, latent_dim: int) -> None:
        super().__init__(in_features, latent_dim, num_parameters=2 * latent_dim)

    def distribution(self, parameters: Tensor) -> Distribution:
        loc, log_scale = parameters.chunk(2, dim=-1)
        return Independent(LogisticDistribution(loc, log_scale.exp(), validate_args=False), 1, validate_args=False)

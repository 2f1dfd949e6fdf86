"""Logistic posterior."""

from torch import Tensor
from torch.distributions import Distribution, Independent

from aevb.distributions.logistic import LogisticDistribution
from aevb.posteriors.base import Posterior


class Logistic(Posterior):
    """q(z|x) = Π_j Logistic(z_j; μ_j(x), s_j(x)), sampled as z = μ + s log(u / (1 − u)), u uniform on (0, 1).

    μ and log s are linear in the encoder's features. Its variance is π² s² / 3.

    Source: Kingma & Welling (2013), section 2.4 (tractable inverse CDF).

    Shapes: h (B, in_features) → batch (B,), event (latent_dim,).
    """

    def __init__(self, in_features: int, latent_dim: int) -> None:
        super().__init__(in_features, latent_dim, num_parameters=2 * latent_dim)

    def distribution(self, parameters: Tensor) -> Distribution:
        loc, log_scale = parameters.chunk(2, dim=-1)
        return Independent(LogisticDistribution(loc, log_scale.exp(), validate_args=False), 1, validate_args=False)

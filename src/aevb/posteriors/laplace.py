"""Laplace posterior."""

from torch import Tensor
from torch.distributions import Distribution, Independent
from torch.distributions import Laplace as LaplaceDistribution

from aevb.posteriors.base import Posterior


class Laplace(Posterior):
    """q(z|x) = Π_j Laplace(z_j; μ_j(x), b_j(x)), sampled as z = μ − b sign(u) log(1 − 2 |u|), u uniform on (−½, ½).

    μ and log b are linear in the encoder's features. Its variance is 2 b².

    Source: Kingma & Welling (2013), section 2.4 (location-scale).

    Shapes: h (B, in_features) → batch (B,), event (latent_dim,).
    """

    def __init__(self, in_features: int, latent_dim: int) -> None:
        super().__init__(in_features, latent_dim, num_parameters=2 * latent_dim)

    def distribution(self, parameters: Tensor) -> Distribution:
        loc, log_scale = parameters.chunk(2, dim=-1)
        return Independent(LaplaceDistribution(loc, log_scale.exp(), validate_args=False), 1, validate_args=False)

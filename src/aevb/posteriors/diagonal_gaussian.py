"""Gaussian posterior with a diagonal covariance."""

from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from aevb.posteriors.base import Posterior


class DiagonalGaussian(Posterior):
    """q(z|x) = N(z; μ(x), diag σ²(x)), sampled as z = μ + σ ε with ε ~ N(0, I).

    μ and log σ² are linear in the encoder's features.

    Source: Kingma & Welling (2013), eq. 9 and appendix C.2.

    Shapes: h (B, in_features) → batch (B,), event (latent_dim,).
    """

    def __init__(self, in_features: int, latent_dim: int) -> None:
        super().__init__(in_features, latent_dim, num_parameters=2 * latent_dim)

    def distribution(self, parameters: Tensor) -> Distribution:
        mean, log_variance = parameters.chunk(2, dim=-1)
        return Independent(Normal(mean, (0.5 * log_variance).exp(), validate_args=False), 1, validate_args=False)

"""Gaussian posterior with a covariance of low rank plus a diagonal."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution, LowRankMultivariateNormal

from aevb.posteriors.base import Posterior
from aevb.types import Size


class LowRankGaussian(Posterior):
    """q(z|x) = N(z; μ(x), Σ(x)) with Σ = diag(σ) (I + V Vᵀ / R) diag(σ), V of R columns.

    Sampled as z = μ + σ (ε + V η / √R) with ε and η standard normal. μ, log σ² and V are linear in the encoder's
    features, so that their number grows with D R, where `FullGaussian` needs D² / 2. A rank of D or more gains nothing.

    Source: Ong, Nott & Smith (2018), arXiv 1701.03208; Rezende, Mohamed & Wierstra (2014) have one direction, in the
    precision matrix.

    Shapes: h (B, in_features) → batch (B,), event (latent_dim,).

    Args:
        in_features: Size of the encoder's feature vector.
        latent_dim: D, dimensions of z.
        rank: R, number of directions of correlation.

    Raises:
        ValueError: rank is not a positive whole number.
    """

    def __init__(self, in_features: int, latent_dim: int, rank: Size = 2) -> None:
        super().__init__(in_features, latent_dim, num_parameters=(2 + rank) * latent_dim)
        self.rank = rank

    def distribution(self, parameters: Tensor) -> Distribution:
        mean, log_variance, directions = parameters.tensor_split((self.latent_dim, 2 * self.latent_dim), dim=-1)
        scale = (0.5 * log_variance).exp().unsqueeze(-1)
        factor = scale * directions.unflatten(-1, (self.latent_dim, self.rank)) / math.sqrt(self.rank)
        return LowRankPlusDiagonalGaussian(mean, factor, log_variance.exp(), validate_args=False)


class LowRankPlusDiagonalGaussian(LowRankMultivariateNormal):
    """`LowRankMultivariateNormal` in full precision under autocast, which would cast its matrix products."""

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.autocast(self.loc.device.type, enabled=False):
            return super().rsample(torch.Size(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        with torch.autocast(self.loc.device.type, enabled=False):
            return super().log_prob(value)

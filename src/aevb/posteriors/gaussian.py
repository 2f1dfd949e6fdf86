"""Gaussian posteriors, by the form of the covariance: diagonal, full, low rank plus diagonal."""

import math

import torch
from torch import Tensor
from torch.distributions import Distribution

from aevb.distributions.gaussian import CholeskyGaussian, LowRankPlusDiagonalGaussian, diagonal_gaussian
from aevb.posteriors.base import Posterior
from aevb.types import Size


class DiagonalGaussian(Posterior):
    """q(z|x) = N(z; μ(x), diag σ²(x)), sampled as z = μ + σ ε with ε ~ N(0, I).

    μ and log σ² are linear in the encoder's features.

    Source: Kingma & Welling (2013), eq. 9 and appendix C.2.
    """

    def __init__(self, in_features: int, latent_dim: int) -> None:
        super().__init__(in_features, latent_dim, num_parameters=2 * latent_dim)

    def distribution(self, parameters: Tensor) -> Distribution:
        return diagonal_gaussian(*parameters.chunk(2, dim=-1))


class FullGaussian(Posterior):
    """q(z|x) = N(z; μ(x), Σ(x)) with Σ = L Lᵀ, sampled as z = μ + L ε with ε ~ N(0, I).

    L = diag(σ) (I + A / √D) with A strictly lower triangular, so that L is lower triangular with the diagonal σ: the
    Cholesky factor of Σ. μ, log σ² and A are linear in the encoder's features. This separates scale from correlation,
    and keeps the initial variances independent of the D = latent_dim dimensions. Against the standard normal, KL = ½
    (tr Σ + μᵀμ − D − log det Σ) with log det Σ = Σ_j log σ_j².

    Source: Kingma & Welling (2013), section 2.4 (location-scale); Prince (2023), Understanding Deep Learning, ch. 17.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, in_features: int, latent_dim: int) -> None:
        num_below = latent_dim * (latent_dim - 1) // 2
        super().__init__(in_features, latent_dim, num_parameters=2 * latent_dim + num_below)
        rows, columns = torch.tril_indices(latent_dim, latent_dim, offset=-1)
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)

    def distribution(self, parameters: Tensor) -> Distribution:
        dim = self.latent_dim
        mean, log_variance, below = parameters.tensor_split((dim, 2 * dim), dim=-1)
        factor = torch.eye(dim, dtype=below.dtype, device=below.device).expand(*below.shape[:-1], dim, dim).clone()
        factor[..., self.rows, self.columns] = below / math.sqrt(dim)
        scale_tril = (0.5 * log_variance).exp().unsqueeze(-1) * factor
        return CholeskyGaussian(mean, scale_tril=scale_tril, validate_args=False)


class LowRankGaussian(Posterior):
    """q(z|x) = N(z; μ(x), Σ(x)) with Σ = diag(σ) (I + V Vᵀ / R) diag(σ), V of R columns.

    Sampled as z = μ + σ (ε + V η / √R) with ε and η standard normal. μ, log σ² and V are linear in the encoder's
    features, so that their number grows with D R, where `FullGaussian` needs D² / 2. A rank of D or more gains nothing.

    Source: Ong, Nott & Smith (2018), arXiv 1701.03208; Rezende, Mohamed & Wierstra (2014) have one direction, in the
    precision matrix.

    Args:
        rank: R, number of directions of correlation.
    """

    def __init__(self, in_features: int, latent_dim: int, rank: Size = 2) -> None:
        super().__init__(in_features, latent_dim, num_parameters=(2 + rank) * latent_dim)
        self.rank = rank

    def distribution(self, parameters: Tensor) -> Distribution:
        mean, log_variance, directions = parameters.tensor_split((self.latent_dim, 2 * self.latent_dim), dim=-1)
        scale = (0.5 * log_variance).exp().unsqueeze(-1)
        factor = scale * directions.unflatten(-1, (self.latent_dim, self.rank)) / math.sqrt(self.rank)
        return LowRankPlusDiagonalGaussian(mean, factor, log_variance.exp())

"""Gaussian posterior with a full covariance."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal

from aevb.posteriors.base import Posterior


class FullGaussian(Posterior):
    """q(z|x) = N(z; μ(x), Σ(x)) with Σ = L Lᵀ, sampled as z = μ + L ε with ε ~ N(0, I).

    L = diag(σ) (I + A / √D) with A strictly lower triangular, so that L is lower triangular with the diagonal σ: the
    Cholesky factor of Σ. μ, log σ² and A are linear in the encoder's features. Scale and correlation are thus apart,
    and the variances at the start do not grow with the D = latent_dim dimensions. Against the standard normal,
    KL = ½ (tr Σ + μᵀμ − D − log det Σ) with log det Σ = Σ_j log σ_j².

    Source: Kingma & Welling (2013), section 2.4 (location-scale); Prince (2023), Understanding Deep Learning, ch. 17.

    Shapes: h (B, in_features) → batch (B,), event (latent_dim,).
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


class CholeskyGaussian(MultivariateNormal):
    """`MultivariateNormal` that samples in full precision under autocast, which would cast its matrix product."""

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.autocast(self.loc.device.type, enabled=False):
            return super().rsample(torch.Size(sample_shape))

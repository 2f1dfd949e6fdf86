"""A linear model given a condition c, whose marginal likelihood and posterior are known exactly.

p(z) = N(0, I), p(x|z, c) = N(W z + B c + b, σ² I), so p(x|c) = N(B c + b, W Wᵀ + σ² I). W has orthogonal columns, and
q(z|x, c) is the exact posterior, a diagonal Gaussian whose mean is linear in [x, c].
"""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from aevb.networks import MLPDecoder, MLPEncoder
from aevb.posteriors import DiagonalGaussian
from aevb.priors import StandardNormal
from aevb.vae import VAE

from .ppca import FixedNoise


class LinearCVAE(NamedTuple):
    """The model in float64, data x (N, 1, 1, data_dim) and their conditions c (N, condition_dim)."""

    vae: VAE
    x: Tensor
    c: Tensor

    def log_marginal(self, x: Tensor, c: Tensor) -> Tensor:
        """log p(x|c), (B,)."""
        layer, dim = self.vae.p.head.layer, self.vae.p.latent_dim
        w, b = layer.weight[:, :dim], layer.weight[:, dim:]
        covariance = w @ w.T + self.vae.p.head.sigma**2 * torch.eye(len(w), dtype=w.dtype)
        return MultivariateNormal(c @ b.T + layer.bias, covariance).log_prob(x.flatten(1))


def linear_cvae(
    latent_dim: int = 2, data_dim: int = 5, condition_dim: int = 3, num_data: int = 4, sigma: float = 0.6, seed: int = 0
) -> LinearCVAE:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        vae = VAE(
            latent_dim=latent_dim,
            data_shape=(1, 1, data_dim),
            encoder=partial(MLPEncoder, hidden=[], condition_shape=(condition_dim,)),
            posterior=DiagonalGaussian,
            prior=StandardNormal,
            decoder=partial(MLPDecoder, hidden=[], condition_shape=(condition_dim,)),
            likelihood=partial(FixedNoise, sigma=sigma),
            condition_shape=(condition_dim,),
        ).double()
        c = torch.randn(num_data, condition_dim, dtype=torch.float64)
        with torch.no_grad():
            theta, phi = vae.p.head.layer, vae.q.head.layer
            w = 1.3 * torch.linalg.qr(torch.randn(data_dim, latent_dim, dtype=torch.float64)).Q
            b = torch.randn(data_dim, condition_dim, dtype=torch.float64)
            theta.weight.copy_(torch.cat([w, b], 1))
            theta.bias.normal_()
            variance = 1 / (1 + 1.3**2 / sigma**2)  # the posterior precision I + WᵀW / σ² is diagonal
            gain = variance * w.T / sigma**2
            phi.weight.zero_()
            phi.weight[:latent_dim] = torch.cat([gain, -gain @ b], 1)
            phi.bias[:latent_dim] = -gain @ theta.bias
            phi.bias[latent_dim:] = torch.tensor(variance).log()
    model = LinearCVAE(vae, torch.zeros(0), c)
    with torch.random.fork_rng():
        torch.manual_seed(seed + 1)
        return model._replace(x=vae.sample(num_data, mean=False, c=c))

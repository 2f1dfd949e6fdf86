"""Probabilistic PCA: a linear-Gaussian model whose marginal likelihood, posterior and ELBO are known exactly.

p(z) = N(0, I), p(x|z) = N(W z + b, σ² I), so p(x) = N(b, W Wᵀ + σ² I) (Tipping & Bishop, 1999). The recognition model
is a diagonal Gaussian whose mean and log-variance are linear in x.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal, Normal, constraints

from aevb.likelihoods import Likelihood
from aevb.networks import MLPDecoder, MLPEncoder
from aevb.posteriors import DiagonalGaussian
from aevb.priors import StandardNormal
from aevb.vae import GenerativeModel, RecognitionModel


class FixedNoise(Likelihood):
    """N(x; f(z), σ² I)."""

    support = constraints.real

    def __init__(self, in_shape: Sequence[int], data_shape: Sequence[int], sigma: float) -> None:
        super().__init__(in_shape, data_shape, parameters_per_value=1)
        self.sigma = sigma

    def distribution(self, mean: Tensor) -> Distribution:
        return Normal(mean, self.sigma, validate_args=False)


class PPCA(NamedTuple):
    """The two models, in float64, and data x (N, 1, 1, data_dim) drawn from p before any change to it."""

    p: GenerativeModel
    q: RecognitionModel
    x: Tensor

    @property
    def sigma(self) -> float:
        return self.p.head.sigma

    @property
    def weight(self) -> Tensor:
        """W (data_dim, latent_dim)."""
        return self.p.head.layer.weight

    @property
    def bias(self) -> Tensor:
        """b (data_dim,)."""
        return self.p.head.layer.bias

    def log_marginal(self, x: Tensor) -> Tensor:
        """log p(x), (B,)."""
        noise = self.sigma**2 * torch.eye(len(self.bias), dtype=x.dtype)
        return MultivariateNormal(self.bias, self.weight @ self.weight.T + noise).log_prob(x.flatten(1))

    def posterior(self, x: Tensor) -> MultivariateNormal:
        """p(z|x), batch (B,)."""
        precision = torch.eye(self.weight.shape[1], dtype=x.dtype) + self.weight.T @ self.weight / self.sigma**2
        covariance = torch.linalg.inv(precision)
        mean = (x.flatten(1) - self.bias) @ self.weight @ covariance / self.sigma**2
        return MultivariateNormal(mean, covariance.expand(len(x), -1, -1))

    def elbo(self, x: Tensor) -> Tensor:
        """The exact ELBO, (B,), with gradients for θ and φ."""
        posterior = self.q(x).base_dist
        mean, variance = posterior.loc, posterior.scale.square()
        residual = (x.flatten(1) - mean @ self.weight.T - self.bias).square().sum(-1)
        spread = (variance @ self.weight.square().T).sum(-1)
        noise = self.sigma**2
        log_likelihood = -0.5 * (len(self.bias) * math.log(2 * math.pi * noise) + (residual + spread) / noise)
        kl = 0.5 * (mean.square() + variance - 1 - variance.log()).sum(-1)
        return log_likelihood - kl

    def best_log_marginal(self) -> float:
        """The mean of log p(x) over the data under the W and b that maximise it (Tipping & Bishop, eq. 7)."""
        x = self.x.flatten(1)
        mean = x.mean(0)
        values, vectors = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
        latent_dim, noise = self.weight.shape[1], self.sigma**2
        values[-latent_dim:] = values[-latent_dim:].clamp(min=noise)
        fitted = torch.full_like(values, noise)
        fitted[-latent_dim:] = values[-latent_dim:]
        return float(MultivariateNormal(mean, vectors @ fitted.diag() @ vectors.T).log_prob(x).mean())

    def use_exact_posterior(self) -> None:
        """Give q the weights that make it p(z|x); W must have orthogonal columns."""
        layer = self.q.head.layer
        posterior = self.posterior(self.x[:1])
        covariance = posterior.covariance_matrix[0]
        assert torch.allclose(covariance, covariance.diag().diag())
        latent_dim = self.weight.shape[1]
        with torch.no_grad():
            layer.weight.zero_()
            layer.weight[:latent_dim] = covariance @ self.weight.T / self.sigma**2
            layer.bias[:latent_dim] = -layer.weight[:latent_dim] @ self.bias
            layer.bias[latent_dim:] = covariance.diag().log()


def make_ppca(
    latent_dim: int = 1,
    data_dim: int = 2,
    num_data: int = 4,
    sigma: float = 0.7,
    seed: int = 0,
    orthogonal: bool = False,
) -> PPCA:
    """A model with random weights of order 1, a recognition model that is wrong, and data."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        shape = (1, 1, data_dim)
        p = GenerativeModel(
            StandardNormal(latent_dim),
            MLPDecoder(latent_dim, shape, hidden=[]),
            FixedNoise((latent_dim,), shape, sigma),
        ).double()
        q = RecognitionModel(shape, MLPEncoder(shape, hidden=[]), DiagonalGaussian(data_dim, latent_dim)).double()
        with torch.no_grad():
            weight = torch.randn(data_dim, latent_dim, dtype=torch.float64)
            p.head.layer.weight.copy_(torch.linalg.qr(weight).Q * 1.2 if orthogonal else weight)
            p.head.layer.bias.normal_(std=0.5)
            q.head.layer.weight.normal_(std=0.2)
            q.head.layer.bias.normal_(std=0.2)
            z = torch.randn(1, num_data, latent_dim, dtype=torch.float64)
            x = p.likelihood(z).sample()[0]
    return PPCA(p, q, x)

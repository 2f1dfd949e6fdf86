"""Mixture of Gaussians as a prior, and the mixture distribution that the VampPrior shares."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal

from aevb.priors.base import Prior
from aevb.types import Size


class MixtureOfGaussians(Prior):
    """p(z) = Σ_k π_k N(z; μ_k, diag σ_k²); π, μ and σ are learned with the decoder.

    It starts with π_k = 1/K, σ_k² = ½ and μ_k ~ N(0, ½ I), of unit variance as a whole. Where the objective has the
    weight prior p(θ) = N(0, I) on, it covers the logits of π, μ and log σ² like all other generative weights.

    Source: Dilokthanakul et al. (2016), arXiv 1611.02648, and Tomczak & Welling (2018), section 2, as a baseline.

    Shapes: batch (), event (latent_dim,).

    Args:
        latent_dim: Dimensions of z.
        num_components: K.

    Raises:
        ValueError: num_components is not a positive whole number.
    """

    def __init__(self, latent_dim: int, num_components: Size = 10) -> None:
        super().__init__(latent_dim)
        self.logits = nn.Parameter(torch.zeros(num_components))
        self.means = nn.Parameter(math.sqrt(0.5) * torch.randn(num_components, latent_dim))
        self.log_variances = nn.Parameter(torch.full((num_components, latent_dim), math.log(0.5)))

    def forward(self) -> Distribution:
        components = Normal(self.means, (0.5 * self.log_variances).exp(), validate_args=False)
        return Mixture(
            Categorical(logits=self.logits, validate_args=False),
            Independent(components, 1, validate_args=False),
            validate_args=False,
        )


class Mixture(MixtureSameFamily):
    """`MixtureSameFamily` without a batch, whose samples do not take all components' samples to choose from."""

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Each component is drawn from as often as the one that is chosen most; the r-th choice of k takes its r-th."""
        with torch.no_grad():
            chosen = self.mixture_distribution.sample((math.prod(sample_shape),))
            counts = chosen.bincount(minlength=self.component_distribution.batch_shape[0])
            order = chosen.argsort(stable=True)
            rank = torch.empty_like(chosen)
            rank[order] = torch.arange(len(chosen), device=chosen.device) - (counts.cumsum(0) - counts)[chosen[order]]
            draws = self.component_distribution.sample((int(counts.max()),))
            return draws[rank, chosen].unflatten(0, tuple(sample_shape)) if sample_shape else draws[rank, chosen][0]

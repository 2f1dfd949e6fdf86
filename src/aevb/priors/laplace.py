"""Laplace prior."""

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent
from torch.distributions import Laplace as LaplaceDistribution

from aevb.priors.base import Prior
from aevb.types import Positive


class Laplace(Prior):
    """p(z) = Π_j Laplace(z_j; 0, b): log p(z) = −Σ_j (|z_j| / b + log 2b).

    Its peak at 0 favours codes of few large values. b = 1 / √2 has the standard normal's variance.

    Source: the authors' code of Kingma & Welling (2013).

    Shapes: batch (), event (latent_dim,).

    Args:
        latent_dim: Dimensions of z.
        scale: b.

    Raises:
        ValueError: scale is not positive.
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int, scale: Positive = 1.0) -> None:
        super().__init__(latent_dim)
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.full((latent_dim,), float(scale)), persistent=False)

    def forward(self) -> Distribution:
        return Independent(LaplaceDistribution(self.loc, self.scale, validate_args=False), 1, validate_args=False)

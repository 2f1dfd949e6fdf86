"""Priors on the sphere."""

import torch
from torch import Tensor
from torch.distributions import Distribution

from aevb.distributions.power_spherical import UniformOnSphere
from aevb.priors.base import Prior
from aevb.types import AtLeastTwo


class UniformSphere(Prior):
    """p(z) = Γ(D/2) / (2 π^(D/2)), uniform on the sphere of unit vectors z.

    Source: Davidson et al. (2018), Hyperspherical variational auto-encoders, arXiv 1804.00891, section 3.2.
    """

    support = "on the sphere"
    zero: Tensor

    def __init__(self, latent_dim: AtLeastTwo) -> None:
        super().__init__(latent_dim)
        self.register_buffer("zero", torch.zeros(latent_dim), persistent=False)

    def forward(self) -> Distribution:
        return UniformOnSphere(self.zero)

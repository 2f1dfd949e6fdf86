"""Standard normal prior."""

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from aevb.priors.base import Prior


class StandardNormal(Prior):
    """p(z) = N(z; 0, I).

    Source: Kingma & Welling (2013), section 3.

    Shapes: batch (), event (latent_dim,).
    """

    zero: Tensor
    one: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        self.register_buffer("zero", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("one", torch.ones(latent_dim), persistent=False)

    def forward(self) -> Distribution:
        return Independent(Normal(self.zero, self.one, validate_args=False), 1, validate_args=False)

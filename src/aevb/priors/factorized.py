"""Priors of independent dimensions, without learned parameters."""

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent
from torch.distributions import Laplace as LaplaceDistribution

from aevb.distributions.gaussian import Normal
from aevb.distributions.student_t import StudentTDistribution
from aevb.priors.base import Prior
from aevb.types import Positive


class StandardNormal(Prior):
    """p(z) = N(z; 0, I).

    Source: Kingma & Welling (2013), section 3.
    """

    zero: Tensor
    one: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        self.register_buffer("zero", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("one", torch.ones(latent_dim), persistent=False)

    def forward(self) -> Distribution:
        return Independent(Normal(self.zero, self.one, validate_args=False), 1, validate_args=False)


class Laplace(Prior):
    """p(z) = Π_j Laplace(z_j; 0, b): log p(z) = −Σ_j (|z_j| / b + log 2b).

    Its peak at 0 favours codes of few large values. b = 1 / √2 has the standard normal's variance.

    Source: the authors' code of Kingma & Welling (2013).

    Args:
        scale: b.
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int, scale: Positive = 1.0) -> None:
        super().__init__(latent_dim)
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.full((latent_dim,), float(scale)), persistent=False)

    def forward(self) -> Distribution:
        return Independent(LaplaceDistribution(self.loc, self.scale, validate_args=False), 1, validate_args=False)


class StudentT(Prior):
    """p(z) = Π_j t_ν(z_j / s) / s, with t_ν(y) ∝ (1 + y² / ν)^(−(ν + 1) / 2).

    Its heavy tails allow outlying codes for outlying data points. The variance is s² ν / (ν − 2) where ν > 2, else
    infinite; as ν grows it becomes N(0, s² I).

    Source: the authors' code of Kingma & Welling (2013).

    Args:
        degrees_of_freedom: ν.
        scale: s.
    """

    degrees_of_freedom: Tensor
    loc: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int, degrees_of_freedom: Positive = 5.0, scale: Positive = 1.0) -> None:
        super().__init__(latent_dim)
        nu = torch.full((latent_dim,), float(degrees_of_freedom))
        self.register_buffer("degrees_of_freedom", nu, persistent=False)
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.full((latent_dim,), float(scale)), persistent=False)

    def forward(self) -> Distribution:
        one_dimensional = StudentTDistribution(self.degrees_of_freedom, self.loc, self.scale)
        return Independent(one_dimensional, 1, validate_args=False)

"""Priors of positive values, of values in (0, 1), and on the simplex, without learned parameters."""

import torch
from torch import Tensor
from torch.distributions import Beta as BetaDistribution
from torch.distributions import Dirichlet as DirichletDistribution
from torch.distributions import Distribution, Independent
from torch.distributions import Gamma as GammaDistribution

from aevb.distributions.gaussian import LogNormal as LogNormalDistribution
from aevb.priors.base import Prior
from aevb.types import AtLeastTwo, Positive


class LogNormal(Prior):
    """p(z) = Π_j LogNormal(z_j; μ, σ): log z_j ~ N(μ, σ²).

    Args:
        loc: μ.
        scale: σ.
    """

    support = "positive"
    loc: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int, loc: float = 0.0, scale: Positive = 1.0) -> None:
        super().__init__(latent_dim)
        self.register_buffer("loc", torch.full((latent_dim,), float(loc)), persistent=False)
        self.register_buffer("scale", torch.full((latent_dim,), float(scale)), persistent=False)

    def forward(self) -> Distribution:
        return Independent(LogNormalDistribution(self.loc, self.scale, validate_args=False), 1, validate_args=False)


class Gamma(Prior):
    """p(z) = Π_j Gamma(z_j; α, β) = Π_j β^α z_j^(α − 1) e^(−β z_j) / Γ(α), of mean α / β; α = 1 is the exponential.

    Args:
        alpha: α, the concentration.
        rate: β.
    """

    support = "positive"
    alpha: Tensor
    rate: Tensor

    def __init__(self, latent_dim: int, alpha: Positive = 1.0, rate: Positive = 1.0) -> None:
        super().__init__(latent_dim)
        self.register_buffer("alpha", torch.full((latent_dim,), float(alpha)), persistent=False)
        self.register_buffer("rate", torch.full((latent_dim,), float(rate)), persistent=False)

    def forward(self) -> Distribution:
        return Independent(GammaDistribution(self.alpha, self.rate, validate_args=False), 1, validate_args=False)


class Beta(Prior):
    """p(z) = Π_j Beta(z_j; α, β) ∝ Π_j z_j^(α − 1) (1 − z_j)^(β − 1); α = β = 1 is uniform.

    Args:
        alpha: α.
        beta: β.
    """

    support = "in (0, 1)"
    alpha: Tensor
    beta: Tensor

    def __init__(self, latent_dim: int, alpha: Positive = 1.0, beta: Positive = 1.0) -> None:
        super().__init__(latent_dim)
        self.register_buffer("alpha", torch.full((latent_dim,), float(alpha)), persistent=False)
        self.register_buffer("beta", torch.full((latent_dim,), float(beta)), persistent=False)

    def forward(self) -> Distribution:
        return Independent(BetaDistribution(self.alpha, self.beta, validate_args=False), 1, validate_args=False)


class Dirichlet(Prior):
    """p(z) = Dirichlet(z; α, …, α) ∝ Π_j z_j^(α − 1), z_j > 0 with the sum 1; α = 1 is uniform, less is sparse.

    Args:
        alpha: α.
    """

    support = "on the simplex"
    alpha: Tensor

    def __init__(self, latent_dim: AtLeastTwo, alpha: Positive = 1.0) -> None:
        super().__init__(latent_dim)
        self.register_buffer("alpha", torch.full((latent_dim,), float(alpha)), persistent=False)

    def forward(self) -> Distribution:
        return DirichletDistribution(self.alpha, validate_args=False)

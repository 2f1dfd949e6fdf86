"""Distributions on the sphere S^(D−1), the unit vectors of D dimensions."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Dirichlet, Distribution, constraints, register_kl


class PowerSpherical(Distribution):
    """p(z) ∝ (1 + μᵀz)^κ on the sphere S^(D−1), of direction μ and concentration κ.

    (1 + μᵀz) / 2 ~ Beta(α, β) with α = (D − 1)/2 + κ and β = (D − 1)/2, and the rest of z is uniform, so that draws are
    reparameterized: a beta variable along e_1, a uniform direction beside it, and a reflection that takes e_1 to μ.

    Shapes: batch that of κ, event (D,).

    Source: De Cao & Aziz (2020), The power spherical distribution, arXiv 2006.04437.

    Args:
        loc: μ (..., D), of norm 1.
        concentration: κ (...), positive.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, concentration: Tensor) -> None:
        self.loc, self.concentration = loc, concentration
        self.beta = (loc.shape[-1] - 1) / 2
        super().__init__(concentration.shape, loc.shape[-1:], validate_args=False)

    @property
    def alpha(self) -> Tensor:
        """α = β + κ."""
        return self.beta + self.concentration

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> "PowerSpherical":
        shape = torch.Size(batch_shape)
        return PowerSpherical(self.loc.expand(shape + self.event_shape), self.concentration.expand(shape))

    @property
    def mean(self) -> Tensor:
        return self.loc * (self.concentration / (self.alpha + self.beta)).unsqueeze(-1)

    @property
    def variance(self) -> Tensor:
        """Of each dimension: Var(μᵀz) μ_i² + E[1 − (μᵀz)²] (1 − μ_i²) / (D − 1)."""
        total = self.alpha + self.beta
        common = 2 * self.alpha / (total.square() * (total + 1))
        along = (self.beta - self.alpha).unsqueeze(-1) * self.loc.square()
        return common.unsqueeze(-1) * (along + total.unsqueeze(-1))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        both = torch.stack([self.alpha, torch.full_like(self.concentration, self.beta)], -1)
        share, rest = Dirichlet(both, validate_args=False).rsample(torch.Size(sample_shape)).unbind(-1)
        height, radius = share - rest, 2 * (share * rest).clamp(min=torch.finfo(both.dtype).tiny).sqrt()
        beside = F.normalize(torch.randn_like(self.loc[..., 1:].expand(*height.shape, -1)), dim=-1)
        z = torch.cat([height.unsqueeze(-1), radius.unsqueeze(-1) * beside], -1)
        # The reflection along μ ± e_1, with the sign for which its norm is at least √2, takes e_1 to ∓μ.
        sign = torch.copysign(torch.ones_like(self.loc[..., :1]), self.loc[..., :1])
        axis = torch.cat([self.loc[..., :1] + sign, self.loc[..., 1:]], -1)
        coordinate = (axis * z).sum(-1, keepdim=True) / axis.square().sum(-1, keepdim=True)
        return sign * (2 * axis * coordinate - z)

    def log_prob(self, value: Tensor) -> Tensor:
        """κ log((1 + μᵀz) / 2) − log C, where (1 + μᵀz) / 2 = 1 − |z − μ|² / 4 keeps its digits near μ."""
        quarter = 0.25 * (value - self.loc).square().sum(-1)
        kernel = torch.log1p(-quarter.clamp(max=1 - torch.finfo(quarter.dtype).eps))
        return self.concentration * kernel - self.log_normalizer

    @property
    def log_normalizer(self) -> Tensor:
        """log C = log ∫ ((1 + μᵀz) / 2)^κ dz; in float64 as its gamma functions nearly cancel for large κ."""
        alpha = self.alpha.double()
        ratio = torch.lgamma(alpha) - torch.lgamma(alpha + self.beta)
        return (ratio + self.beta * math.log(4 * math.pi)).to(self.concentration.dtype)


class UniformOnSphere(Distribution):
    """p(z) = Γ(D/2) / (2 π^(D/2)) on the sphere S^(D−1).

    Args:
        zero: The centre (D,), of the dtype and on the device of draws.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.real_vector

    def __init__(self, zero: Tensor) -> None:
        self.zero = zero
        super().__init__(event_shape=zero.shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.zero

    @property
    def variance(self) -> Tensor:
        return torch.full_like(self.zero, 1 / len(self.zero))

    @property
    def log_area(self) -> float:
        """log 2 π^(D/2) / Γ(D/2), the entropy."""
        half = len(self.zero) / 2
        return math.log(2) + half * math.log(math.pi) - math.lgamma(half)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return F.normalize(torch.randn_like(self.zero.expand(*sample_shape, -1)), dim=-1)

    def log_prob(self, value: Tensor) -> Tensor:
        return torch.full_like(value[..., 0], -self.log_area)


def kl_power_spherical_uniform(q: PowerSpherical, p: UniformOnSphere) -> Tensor:
    """κ (ψ(α) − ψ(α + β)) − log C + log area, whatever μ."""
    alpha, kappa = q.alpha.double(), q.concentration
    expected_kernel = (torch.digamma(alpha) - torch.digamma(alpha + q.beta)).to(kappa.dtype)
    return kappa * expected_kernel - q.log_normalizer + p.log_area


register_kl(PowerSpherical, UniformOnSphere)(kl_power_spherical_uniform)

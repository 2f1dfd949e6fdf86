"""Closed forms of KL(q(z|x) ‖ p(z)) that torch.distributions lacks, registered with it; in nats."""

import math

import torch.nn.functional as F
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    Laplace,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    register_kl,
)

from aevb.distributions.logistic import LogisticDistribution


def gaussian_cross_entropy(q: Distribution, p: Normal) -> Tensor:
    """−E_q[log p(z)] of each dimension: ½ log 2πσ² + (Var_q z + (E_q z − μ)²) / 2σ², for any q with both moments."""
    variance = p.scale.square()
    return 0.5 * ((2 * math.pi * variance).log() + (q.variance + (q.mean - p.loc).square()) / variance)


def kl_correlated_gaussian_diagonal_gaussian(q: Distribution, p: Independent) -> Tensor:
    """½ (tr(S⁻¹ Σ) + (μ − m)ᵀ S⁻¹ (μ − m) − D − log(det Σ / det S)) for N(μ, Σ) and N(m, S), S diagonal.

    Of Σ it takes the diagonal and the determinant only, both known from its factors, and no matrix product.

    Raises:
        NotImplementedError: p is no diagonal Gaussian.
    """
    if not isinstance(p.base_dist, Normal) or p.reinterpreted_batch_ndims != 1:
        raise NotImplementedError(f"no closed form of the KL to {p}")
    return gaussian_cross_entropy(q, p.base_dist).sum(-1) - q.entropy()


def kl_logistic_normal(q: LogisticDistribution, p: Normal) -> Tensor:
    """½ log 2πσ² + (π² s² / 3 + (μ − m)²) / 2σ² − log s − 2 for Logistic(μ, s) and N(m, σ²)."""
    return gaussian_cross_entropy(q, p) - q.entropy()


def kl_logistic_laplace(q: LogisticDistribution, p: Laplace) -> Tensor:
    """log 2b + E_q|z − m| / b − log s − 2 for Logistic(μ, s) and Laplace(m, b).

    E_q|z − m| = d + 2 s log(1 + e^(−d/s)) with d = |μ − m|.
    """
    distance = (q.mean - p.loc).abs()
    absolute_moment = distance + 2 * q.scale * F.softplus(-distance / q.scale)
    return (2 * p.scale).log() + absolute_moment / p.scale - q.entropy()


register_kl(MultivariateNormal, Independent)(kl_correlated_gaussian_diagonal_gaussian)
register_kl(LowRankMultivariateNormal, Independent)(kl_correlated_gaussian_diagonal_gaussian)
register_kl(LogisticDistribution, Normal)(kl_logistic_normal)
register_kl(LogisticDistribution, Laplace)(kl_logistic_laplace)

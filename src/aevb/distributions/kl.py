"""KL(q(z|x) ‖ p(z)) in nats: closed forms that torch.distributions lacks, registered with it, and estimates."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    Laplace,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    kl_divergence,
    register_kl,
)

from aevb.distributions.chain import Chain
from aevb.distributions.codes import Codes, PointMass
from aevb.distributions.flows import GaussianFlow
from aevb.distributions.logistic import LogisticDistribution
from aevb.distributions.sequence import Autoregressive, Steps

KLEstimator = Literal["auto", "analytic", "sampled"]


def gaussian_cross_entropy(q: Distribution, p: Normal) -> Tensor:
    """−E_q[log p(z)] of each dimension: ½ log 2πσ² + (Var_q z + (E_q z − μ)²) / 2σ², for any q with both moments."""
    variance = p.scale.square()
    return 0.5 * ((2 * math.pi * variance).log() + (q.variance + (q.mean - p.loc).square()) / variance)


def kl_correlated_gaussian_diagonal_gaussian(q: Distribution, p: Independent) -> Tensor:
    """½ (tr(S⁻¹ Σ) + (μ − m)ᵀ S⁻¹ (μ − m) − D − log(det Σ / det S)) for N(μ, Σ) and N(m, S), S diagonal.

    It needs only the diagonal and the determinant of Σ, both known from its factors, and no matrix product.
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


def kl_of_independent_steps(q: Steps, p: Steps) -> Tensor:
    """Σ_t KL(q(z_t) ‖ p(z_t)) of independent steps, without padding."""
    if isinstance(q, Autoregressive) or isinstance(p, Autoregressive):
        raise NotImplementedError("the KL of autoregressive distributions is estimated")
    return q.masked(kl_divergence(q.each, p.each)).sum(-1)


def kl_of_codes(q: PointMass, p: Codes) -> Tensor:
    """−log p(k) at the codes k of q; with shares s(h), h has the gradient of −Σ_n Σ_k s_k(h_n) log p(k | k_<n)."""
    if q.shares is None or not isinstance(p.of_codes, Autoregressive):
        return -p.of_codes.log_prob(q.codes)
    log_p: Tensor = p.of_codes.conditionals(q.codes).logits  # type: ignore[attr-defined]
    rate = -log_p.gather(-1, q.codes.unsqueeze(-1)).sum((-1, -2))
    expected = -(q.shares * log_p.detach()).sum((-1, -2))
    return rate + (expected - expected.detach())


register_kl(PointMass, Codes)(kl_of_codes)
register_kl(Steps, Steps)(kl_of_independent_steps)
register_kl(MultivariateNormal, Independent)(kl_correlated_gaussian_diagonal_gaussian)
register_kl(LowRankMultivariateNormal, Independent)(kl_correlated_gaussian_diagonal_gaussian)
register_kl(LogisticDistribution, Normal)(kl_logistic_normal)
register_kl(LogisticDistribution, Laplace)(kl_logistic_laplace)


def rsample_and_log_prob(distribution: Distribution, sample_shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """A reparameterized sample and its log-density in nats; flows have both from one pass."""
    if isinstance(distribution, GaussianFlow):
        return distribution.rsample_and_log_prob(sample_shape)
    z = distribution.rsample(torch.Size(sample_shape))
    return z, distribution.log_prob(z)


def sample_and_kl(
    posterior: Distribution, prior: Distribution, num_samples: int, kl: str = "auto"
) -> tuple[Tensor, Tensor]:
    """Reparameterized draws z (L, *batch, latent_dim) of q, and KL(q ‖ p) in nats, of the batch shape.

    Args:
        posterior: q.
        prior: p.
        num_samples: L.
        kl: `analytic`, `sampled` as 1/L Σ_l [log q(z_l) − log p(z_l)], or `auto`: analytic where a closed form is
            known.

    Raises:
        ValueError: `analytic` where no closed form is known.
    """
    z, divergence, _ = sample_and_kl_terms(posterior, prior, num_samples, kl)
    return z, divergence


def sample_and_kl_terms(
    posterior: Distribution, prior: Distribution, num_samples: int, kl: str = "auto"
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """`sample_and_kl`, and the terms of the KL of two chains as `kl_<block>`, for the blocks that have names."""
    divergence = analytic_kl(posterior, prior, kl)
    if divergence is not None:
        return posterior.rsample(torch.Size((num_samples,))), divergence, {}
    if isinstance(posterior, Chain) and isinstance(prior, Chain):
        z, conditionals = posterior.rsample_and_conditionals((num_samples,))
        terms = kl_per_block(posterior, prior, z, kl, conditionals)
        named = {f"kl_{name}": term for name, term in zip(posterior.names, terms, strict=False)}
        return z, torch.stack(terms).sum(0), named
    if isinstance(posterior, Steps) and isinstance(prior, Steps):
        z = posterior.rsample((num_samples,))
        return z, kl_of_steps(posterior, prior, z, kl).sum(-1).mean(0), {}
    z, log_q = rsample_and_log_prob(posterior, (num_samples,))
    return z, (log_q - prior.log_prob(z)).mean(0), {}


def kl_estimate(posterior: Distribution, prior: Distribution, z: Tensor, kl: str) -> Tensor:
    """KL(q ‖ p) in nats as `sample_and_kl` estimates it, from draws z (L, *batch, latent_dim) of q."""
    divergence = analytic_kl(posterior, prior, kl)
    if divergence is None and isinstance(posterior, Chain) and isinstance(prior, Chain):
        divergence = torch.stack(kl_per_block(posterior, prior, z, kl)).sum(0)
    if divergence is None and isinstance(posterior, Steps) and isinstance(prior, Steps):
        divergence = kl_of_steps(posterior, prior, z, kl).sum(-1).mean(0)
    return (posterior.log_prob(z) - prior.log_prob(z)).mean(0) if divergence is None else divergence


def kl_per_block(
    q: Chain, p: Chain, z: Tensor, kl: str = "auto", of_q: Sequence[Distribution] | None = None
) -> list[Tensor]:
    """KL(q ‖ p) in nats split over blocks, (B,) each, from draws z (S, B, Σ sizes) of q.

    Where q's conditionals at z are known, as `of_q`, they are not computed again.

    The term of block l is E_q[KL(q(z_l|·) ‖ p(z_l|·))] by the closed form at each draw where q has drawn all that p's
    conditional depends on, and one is known; otherwise E_q[log q(z_l|·) − log p(z_l|·)]. Both have the same sum; the
    closed form has the smaller variance.
    """
    terms = []
    of_q = q.conditionals(z) if of_q is None else of_q
    for block, (q_l, p_l, z_l) in enumerate(zip(of_q, p.conditionals(z), q.split(z), strict=True)):
        term = None
        if kl != "sampled" and p.before(block) <= q.before(block):
            term = closed_form(q_l, p_l)
        if term is None:
            term = q_l.log_prob(z_l) - p_l.log_prob(z_l)
        terms.append(term.expand(z.shape[:-1]).mean(0))
    return terms


def kl_of_steps(q: Steps, p: Steps, z: Tensor, kl: str = "auto") -> Tensor:
    """KL(q ‖ p) in nats split over steps, (S, B, T), 0 for padding, at draws z (S, B, T · d) of q.

    The mean over draws estimates E_q[KL(q(z_t|z_<t) ‖ p(z_t|z_<t))], by the closed form at each draw where one is
    known, otherwise by log q(z_t|z_<t) − log p(z_t|z_<t).
    """
    q_t, p_t, z_t = q.conditionals(z), p.conditionals(z), q.split(z)
    term = None if kl == "sampled" else closed_form(q_t, p_t)
    return q.masked(q_t.log_prob(z_t) - p_t.log_prob(z_t) if term is None else term)


def analytic_kl(posterior: Distribution, prior: Distribution, kl: str) -> Tensor | None:
    """KL(q ‖ p) in nats, of the posterior's batch shape; None where it is to be sampled.

    Raises:
        ValueError: kl is `analytic`, and no closed form is known.
    """
    divergence = None if kl == "sampled" else closed_form(posterior, prior)
    if divergence is None and kl == "analytic":
        names = f"{distribution_name(posterior)} and {distribution_name(prior)}"
        raise ValueError(f"objective.kl=analytic: no closed form is known for {names}; use sampled or auto")
    return divergence


def closed_form(q: Distribution, p: Distribution) -> Tensor | None:
    """KL(q ‖ p) in nats where a closed form is registered with torch.distributions; None elsewhere."""
    try:
        return kl_divergence(q, p)
    except NotImplementedError:
        return None


def factorized(distribution: Distribution) -> Distribution | None:
    """The distribution of each dimension, batch (..., D), where they are independent; None elsewhere."""
    if not isinstance(distribution, Independent) or distribution.base_dist.event_shape:
        return None
    return distribution.base_dist


def distribution_name(distribution: Distribution) -> str:
    """Name of a distribution's family, without the wrapper `Independent`."""
    return type(getattr(distribution, "base_dist", distribution)).__name__

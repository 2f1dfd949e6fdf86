"""The KL divergence: closed forms, and where there is none."""

import math

import pytest
import torch
from scipy.integrate import quad
from torch.distributions import (
    Independent,
    Laplace,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    StudentT,
    Uniform,
    kl_divergence,
)

from aevb.distributions.logistic import LogisticDistribution

from ..posteriors.heads import FLOWS, HEADS, features, make


@pytest.mark.parametrize("name", ["diagonal_gaussian", "full_gaussian", "low_rank_gaussian"])
def test_gaussian_kl_is_torchs_between_full_gaussians(name):
    posterior = make(name, latent_dim=6, scale=0.6)(features())
    loc, scale = torch.randn(6, dtype=torch.float64), torch.rand(6, dtype=torch.float64) + 0.5
    prior = Independent(Normal(loc, scale), 1)
    covariance = getattr(posterior, "covariance_matrix", None)
    covariance = torch.diag_embed(posterior.variance) if covariance is None else covariance
    expected = kl_divergence(
        MultivariateNormal(posterior.mean, covariance), MultivariateNormal(loc, scale.square().diag())
    )
    assert torch.allclose(kl_divergence(posterior, prior), expected)


def test_full_gaussian_kl_to_the_standard_normal_is_the_formula_with_trace_and_determinant():
    posterior = make("full_gaussian", latent_dim=5, scale=0.6)(features())
    covariance, mean = posterior.covariance_matrix, posterior.mean
    trace = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)
    expected = 0.5 * (trace + mean.square().sum(-1) - 5 - covariance.logdet())
    zero, one = torch.zeros(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    assert torch.allclose(kl_divergence(posterior, Independent(Normal(zero, one), 1)), expected)


@pytest.mark.parametrize(
    "q", [Laplace(0.7, 0.4), Normal(-0.7, 1.3), LogisticDistribution(0.7, 0.4), LogisticDistribution(-3, 1.5)]
)
@pytest.mark.parametrize("p", [Normal(0.2, 0.9), Laplace(-0.3, 0.8)])
def test_kl_is_that_of_numerical_integration(q, p):
    def integrand(z: float) -> float:
        log_q, log_p = q.log_prob(torch.tensor(z)).item(), p.log_prob(torch.tensor(z)).item()
        return math.exp(log_q) * (log_q - log_p)

    kinks = [q.mean.item(), p.mean.item()]
    expected, _ = quad(integrand, -60, 60, points=kinks, limit=400)
    assert kl_divergence(q, p).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("prior", [Normal, Laplace, StudentT])
def test_closed_form_of_the_kl_agrees_with_samples_or_is_absent(name, prior):
    posterior = make(name, latent_dim=3)(features())
    zero, one = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    target = Independent(prior(5 * one if prior is StudentT else zero, *([zero] if prior is StudentT else []), one), 1)
    gaussian = name.endswith("gaussian")
    known = name not in FLOWS and (
        prior is Normal or (prior is Laplace and name not in ("full_gaussian", "low_rank_gaussian"))
    )
    assert known or not (gaussian and prior is Normal)
    if not known:
        with pytest.raises(NotImplementedError):
            kl_divergence(posterior, target)
        return
    z = posterior.sample((50_000,))
    ratio = posterior.log_prob(z) - target.log_prob(z)
    error = ratio.std(0) / math.sqrt(len(z))
    assert ((kl_divergence(posterior, target) - ratio.mean(0)).abs() < 5 * error).all()


def test_correlated_gaussians_have_no_closed_form_to_other_than_vectors_of_normals():
    for posterior in (
        MultivariateNormal(torch.zeros(2), torch.eye(2)),
        LowRankMultivariateNormal(torch.zeros(2), torch.ones(2, 1), torch.ones(2)),
    ):
        for target in (
            Independent(Uniform(-torch.ones(2), torch.ones(2)), 1),
            Independent(Normal(torch.zeros(2, 2), 1.0), 2),
        ):
            with pytest.raises(NotImplementedError):
                kl_divergence(posterior, target)

"""Gaussian distributions against torch's own."""

import pytest
import torch
from torch.distributions import LowRankMultivariateNormal, MultivariateNormal, Normal

from aevb.distributions.gaussian import (
    CalibratedGaussianDistribution,
    CholeskyGaussian,
    GaussianDistribution,
    LowRankPlusDiagonalGaussian,
)


@pytest.mark.parametrize("scale", [torch.tensor(0.3), torch.tensor([0.2, 1.0, 5.0])])
def test_density_is_that_of_normal(scale: torch.Tensor) -> None:
    loc, x = torch.randn(4, 3), torch.randn(4, 3)
    torch.testing.assert_close(GaussianDistribution(loc, scale).log_prob(x), Normal(loc, scale).log_prob(x))


def test_calibrated_density_has_the_fitted_variance_and_draws_the_given_scale() -> None:
    loc, x = torch.zeros(5000), torch.full((5000,), 2.0)
    distribution = CalibratedGaussianDistribution(loc, torch.tensor(0.1), lambda error: error.square().mean())
    torch.testing.assert_close(distribution.log_prob(x), Normal(0.0, 2.0).log_prob(x))
    assert float(distribution.sample().std()) == pytest.approx(0.1, rel=0.1)


def test_correlated_gaussians_compute_in_full_precision_under_autocast() -> None:
    loc, scale_tril = torch.randn(3, 4), torch.tril(torch.rand(3, 4, 4)) + torch.eye(4)
    factor, diagonal = torch.randn(3, 4, 2), torch.rand(3, 4) + 0.5
    for ours, torchs in (
        (CholeskyGaussian(loc, scale_tril=scale_tril), MultivariateNormal(loc, scale_tril=scale_tril)),
        (LowRankPlusDiagonalGaussian(loc, factor, diagonal), LowRankMultivariateNormal(loc, factor, diagonal)),
    ):
        torch.manual_seed(0)
        expected = torchs.rsample((2,))
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16):
            z = ours.rsample((2,))
            log_prob = ours.log_prob(z)
        assert torch.equal(z, expected)
        torch.testing.assert_close(log_prob, torchs.log_prob(z))

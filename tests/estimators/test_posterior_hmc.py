"""The HMC estimator against probabilistic PCA, and where it fails with a warning."""

import math
from functools import partial

import torch

from aevb.estimators import PosteriorHMC
from aevb.priors import StandardNormal
from aevb.vae import GenerativeModel

from ..ppca import FixedNoise, make_ppca
from .conftest import assert_within_errors, found


def test_posterior_hmc_is_exact_within_its_errors(ppca):
    estimator = PosteriorHMC(num_chains=60, num_samples=20)
    estimates = found(estimator, ppca)
    assert_within_errors(estimates, ppca.log_marginal(ppca.x))
    assert estimator.warnings(estimates) == []


class Wave(torch.nn.Module):
    """z → (z, sin 6z)."""

    def forward(self, z):
        return torch.cat([z, (6 * z).sin()], dim=-1)


def test_chains_of_posterior_hmc_start_near_the_posterior():
    """p(x|z) has a ridge at each z of the same sine, and q knows nothing of x: chains from plain draws are caught."""
    shape = (1, 1, 2)
    p = GenerativeModel(StandardNormal(1), Wave(), FixedNoise((2,), shape, sigma=0.2)).double().requires_grad_(False)
    p.head.layer.weight.copy_(torch.eye(2))
    p.head.layer.bias.zero_()
    ridges = make_ppca(data_dim=2)._replace(
        p=p, x=Wave()(torch.linspace(-1.5, 1.5, 6).double()[:, None])[:, None, None]
    )
    ridges.q.requires_grad_(False).head.layer.weight.zero_()
    z = torch.linspace(-6, 6, 20_001, dtype=torch.float64).reshape(-1, 1, 1).expand(-1, 6, -1)
    exact = p.log_joint(ridges.x, z).logsumexp(0) + math.log(12 / 20_000)
    estimator = partial(PosteriorHMC, num_chains=100)
    assert float((found(estimator(), ridges).value - exact).abs().max()) < 1
    assert found(estimator(num_starts=2), ridges).mean < float(exact.mean()) - 1


def test_posterior_hmc_fails_with_a_warning_where_chains_have_not_arrived():
    wrong = make_ppca(latent_dim=2, data_dim=5, num_data=30, sigma=0.1)
    estimator = PosteriorHMC(burn_in=1, num_starts=2)
    estimates = found(estimator, wrong)
    assert abs(estimates.mean - float(wrong.log_marginal(wrong.x).mean().detach())) > 10
    (warning,) = estimator.warnings(estimates)
    assert warning.startswith("HMC accepts 0% of its proposals")
    assert "raise estimators.posterior_hmc.burn_in" in warning

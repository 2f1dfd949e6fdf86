"""Estimators of log p(x) against probabilistic PCA, where it is known, and where they fail and say so."""

import math
from functools import partial

import pytest
import torch

from aevb.estimators import ELBO, AnnealedImportanceSampling, Estimator, ImportanceSampling, PosteriorHMC
from aevb.estimators.runner import run
from aevb.likelihoods import Bernoulli, Gaussian
from aevb.networks import MLPDecoder, MLPEncoder
from aevb.posteriors import DiagonalGaussian, FullGaussian
from aevb.priors import StandardNormal
from aevb.vae import VAE, GenerativeModel

from ..ppca import PPCA, FixedNoise, make_ppca

SHORT_AIS = AnnealedImportanceSampling(num_chains=7, num_temperatures=3)
SHORT_HMC = PosteriorHMC(num_chains=4, num_samples=3, burn_in=2)

LIMIT = 4.0
"""Standard errors; one comparison in 16,000 is further off by chance."""


@pytest.fixture(scope="module")
def ppca() -> PPCA:
    """With a q that is nearly right: somewhat off its place, and a little too wide."""
    ppca = make_ppca(latent_dim=2, data_dim=5, num_data=30, orthogonal=True)
    ppca.use_exact_posterior()
    with torch.no_grad():
        ppca.q.head.layer.bias += torch.tensor([0.3, -0.2, 0.3, 0.4])
    ppca.p.requires_grad_(False)
    return ppca


def found(estimator: Estimator, ppca: PPCA, rows: int = 10_000):
    return run(estimator, VAE.join(ppca.p, ppca.q), ppca.x, rows)[0]


def assert_within_errors(estimates, exact, limit: float = LIMIT) -> None:
    assert estimates.standard_error < 0.1
    assert abs(estimates.mean - float(exact.mean())) < limit * estimates.standard_error
    off = (estimates.value - exact) / estimates.variance.sqrt()
    assert float(off.abs().max()) < limit + 1.5  # the largest of thirty
    assert 0.3 < float(off.square().mean()) < 2.2  # the errors are neither too small nor too large


def test_elbo_is_exact_within_its_errors(ppca):
    assert_within_errors(found(ELBO(num_samples=500), ppca), ppca.elbo(ppca.x).detach())


def test_importance_sampling_is_exact_within_its_errors(ppca):
    assert_within_errors(found(ImportanceSampling(num_samples=20_000), ppca), ppca.log_marginal(ppca.x).detach())


@pytest.mark.parametrize("start", ["posterior", "prior"])
def test_annealed_importance_sampling_is_exact_within_its_errors(ppca, start):
    estimator = AnnealedImportanceSampling(num_chains=200, num_temperatures=20, start=start)
    estimates = found(estimator, ppca)
    assert_within_errors(estimates, ppca.log_marginal(ppca.x))
    assert 0.5 < float(estimates.diagnostics["acceptance"].mean()) < 0.9
    assert estimator.warnings(estimates) == []


def test_annealing_needs_no_good_encoder():
    """Where importance sampling from q fails, see below."""
    wrong = make_ppca(latent_dim=2, data_dim=5, num_data=30)
    estimates = found(AnnealedImportanceSampling(num_chains=100, num_temperatures=100, start="prior"), wrong)
    assert_within_errors(estimates, wrong.log_marginal(wrong.x).detach())


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


def test_bounds_are_ordered(ppca):
    """ELBO ≤ IWAE-2 ≤ IWAE-20 ≤ IWAE-2000 ≤ log p(x), with gaps above the noise."""
    repeated = ppca._replace(x=ppca.x.repeat(50, 1, 1, 1))
    estimates = [found(ELBO(num_samples=20), repeated)]
    estimates += [found(ImportanceSampling(num_samples=k), repeated) for k in (2, 20, 2000)]
    exact = float(ppca.log_marginal(ppca.x).mean())
    assert [e.mean for e in estimates] == sorted(e.mean for e in estimates)
    assert estimates[1].mean - estimates[0].mean > LIMIT * estimates[0].standard_error
    assert estimates[-1].mean < exact + LIMIT * estimates[-1].standard_error
    assert estimates[-1].mean > exact - 0.05


def test_exact_posterior_leaves_no_noise():
    ppca = make_ppca(latent_dim=2, data_dim=5, orthogonal=True)
    ppca.use_exact_posterior()
    estimates = found(ImportanceSampling(num_samples=3), ppca)
    assert torch.allclose(estimates.value, ppca.log_marginal(ppca.x))
    assert torch.allclose(estimates.diagnostics["effective_sample_size"], torch.full((4,), 3.0, dtype=torch.float64))
    assert estimates.standard_error < 1e-6
    assert ImportanceSampling(num_samples=3).warnings(estimates)  # three are few, however good


def test_importance_sampling_fails_with_a_warning_where_q_is_far_off(ppca):
    wrong = make_ppca(latent_dim=2, data_dim=5, num_data=30)
    estimator = ImportanceSampling(num_samples=200)
    estimates = found(estimator, wrong)
    assert estimates.mean < float(wrong.log_marginal(wrong.x).mean().detach()) - 10 * estimates.standard_error
    (warning,) = estimator.warnings(estimates)
    assert warning.startswith("the effective sample size is below 10 for")
    assert "estimators.importance_sampling.num_samples" in warning
    assert estimator.warnings(found(estimator, ppca)) == []


def test_annealing_fails_with_a_warning_where_there_are_few_temperatures():
    wrong = make_ppca(latent_dim=6, data_dim=20, num_data=10, sigma=0.1)
    estimator = AnnealedImportanceSampling(num_chains=20, num_temperatures=3, start="prior")
    estimates = found(estimator, wrong)
    assert estimates.mean < float(wrong.log_marginal(wrong.x).mean().detach()) - 10
    warnings = estimator.warnings(estimates)
    assert warnings[0].startswith("the effective sample size is below 6 for 100% of the datapoints")
    assert "estimators.annealed_importance_sampling.num_temperatures" in warnings[0]


def test_posterior_hmc_fails_with_a_warning_where_chains_have_not_arrived():
    wrong = make_ppca(latent_dim=2, data_dim=5, num_data=30, sigma=0.1)
    estimator = PosteriorHMC(burn_in=1, num_starts=2)
    estimates = found(estimator, wrong)
    assert abs(estimates.mean - float(wrong.log_marginal(wrong.x).mean().detach())) > 10
    (warning,) = estimator.warnings(estimates)
    assert warning.startswith("HMC accepts 0% of its proposals")
    assert "raise estimators.posterior_hmc.burn_in" in warning


@pytest.mark.parametrize("estimator", [PosteriorHMC, AnnealedImportanceSampling])
def test_poor_acceptance_is_said(estimator):
    reluctant = estimator(target_acceptance=0.1)
    wrong = make_ppca(latent_dim=2, data_dim=5, num_data=30)
    assert any("HMC accepts" in warning for warning in reluctant.warnings(found(reluctant, wrong)))


@pytest.mark.parametrize("estimator", [ELBO(num_samples=7), ImportanceSampling(num_samples=50), SHORT_AIS, SHORT_HMC])
def test_memory_bound_changes_no_shapes(ppca, estimator):
    for rows in (1, 64, 10**6):
        estimates = found(estimator, ppca._replace(x=ppca.x[:6]), rows)
        assert estimates.value.shape == estimates.variance.shape == (6,)
        assert estimates.value.isfinite().all()
        assert estimates.value.dtype == torch.float64


@pytest.mark.parametrize("likelihood", [Bernoulli, Gaussian])
@pytest.mark.parametrize("posterior", [DiagonalGaussian, FullGaussian])
@pytest.mark.parametrize("hidden", [[], [6], [6, 5]])
def test_values_are_those_of_the_models_own_densities(likelihood, posterior, hidden):
    torch.manual_seed(0)
    model = VAE(
        3,
        (1, 4, 2),
        partial(MLPEncoder, hidden=[5]),
        posterior,
        StandardNormal,
        partial(MLPDecoder, hidden=hidden),
        likelihood,
        "xavier",
    )
    x = torch.rand(6, 1, 4, 2)
    torch.manual_seed(1)
    estimates = ImportanceSampling(num_samples=40).estimate(model, x, 1000)
    torch.manual_seed(1)
    with torch.no_grad():
        q = model.q(x)
        z = q.sample((40,))
        log_weights = model.p.log_joint(x, z) - q.log_prob(z)
    assert torch.allclose(estimates.value.float(), log_weights.logsumexp(0) - torch.tensor(40.0).log(), atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 3, 2), (1, 3, 3)])
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_bernoulli_shortcut_is_right_for_any_logits(scale, shape):
    from aevb.estimators.scoring import BernoulliMLP, log_likelihood

    from ..small import pair, small_model

    torch.manual_seed(0)
    p, _ = pair(small_model(shape))
    with torch.no_grad():
        p.head.layer.weight.mul_(10 * scale)
        x, z = torch.rand(3, *shape), torch.randn(5, 3, 2)
        shortcut = log_likelihood(p, x)
        assert isinstance(shortcut, BernoulliMLP)
        expected = p.likelihood(z.double().float()).log_prob(x)
        assert torch.allclose(shortcut(z), expected, rtol=1e-5, atol=1e-4)


def test_bad_settings_name_their_key():
    with pytest.raises(ValueError, match=r"^num_samples must be .* got 0"):
        ImportanceSampling(num_samples=0)
    with pytest.raises(ValueError, match=r"^num_samples must be a whole number of at least 2"):
        ELBO(num_samples=1)

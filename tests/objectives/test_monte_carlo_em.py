"""Monte Carlo EM: its bound, its gradient and its chains."""

from functools import partial

import pytest
import torch

from aevb.inference import hmc
from aevb.likelihoods import OptimalGaussian
from aevb.objectives import MonteCarloEM
from aevb.priors import StandardNormal, VampPrior
from aevb.vae import GenerativeModel

from ..ppca import make_ppca
from ..small import pair, small_model
from .gradients import assert_unbiased, exact_gradient, gradient_draws, phi, theta


def test_monte_carlo_em_reports_a_bound_that_is_nearly_tight() -> None:
    """Its Gaussians have a full covariance, as the exact posterior does, which no diagonal q could match."""
    model, objective = make_ppca(latent_dim=2, data_dim=3), MonteCarloEM(weight_prior=False)
    x = model.x.repeat(100, 1, 1, 1)
    exact = float(model.log_marginal(x).mean())
    for _ in range(20):
        training = objective(model.p, model.q, x)
    step_size = float(objective.step_size)
    evaluation = objective.evaluate(model.p, model.q, x)
    assert exact - 1 < float(training.elbo.mean()) < exact
    assert exact - 0.35 < float(evaluation.elbo.mean()) < exact
    objective.evaluation_transitions = 200
    assert exact - 0.12 < float(objective.evaluate(model.p, model.q, x).elbo.mean()) < exact + 0.02
    assert float(objective.step_size) == step_size
    assert torch.allclose(evaluation.elbo, evaluation.log_likelihood - evaluation.kl)
    assert float(evaluation.extras["acceptance"]) == pytest.approx(0.9, abs=0.06)
    log_likelihood = model.p.likelihood(model.posterior(x).sample((200,))).log_prob(x).mean()
    assert float(evaluation.extras["log_likelihood_hmc"]) == pytest.approx(float(log_likelihood), abs=0.1)


def test_monte_carlo_em_starts_where_the_likelihood_is() -> None:
    model = make_ppca(latent_dim=1, data_dim=4, num_data=500, sigma=0.2)
    with torch.no_grad():
        starts = MonteCarloEM(num_starts=2000).starts(model.p, model.x)
        exact = model.posterior(model.x)
    deviation = (starts[0] - exact.mean) / exact.covariance_matrix.squeeze(-1).sqrt()
    assert starts.shape == (1, 500, 1)
    assert float(deviation.std()) == pytest.approx(1, abs=0.15)


def test_the_gradient_of_monte_carlo_em_is_that_of_the_log_marginal() -> None:
    model = make_ppca(latent_dim=2, data_dim=3)
    objective = MonteCarloEM(num_starts=20, transitions=8, weight_prior=False)
    exact = exact_gradient(-model.log_marginal(model.x).mean(), theta(model))
    gradient_draws(objective, model, theta(model), 20)  # for the step size
    assert_unbiased(gradient_draws(objective, model, theta(model), 100, copies=100), exact)
    loss = objective(model.p, model.q, model.x).loss
    loss.backward()
    assert all(weight.grad is None for weight in phi(model))


def test_chains_of_monte_carlo_em_have_a_target_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """σ-VAE's likelihood fits σ to the minibatch in training: within a chain it must be one number."""
    torch.manual_seed(0)
    model = make_ppca(latent_dim=2, data_dim=3)
    head = OptimalGaussian((2,), (1, 1, 3), bounded=False).double()
    p = GenerativeModel(model.p.prior, model.p.decoder, head)
    p.decoder.eval()
    head.variance.fill_(0.3)
    z, seen = torch.randn(7, len(model.x), 2, dtype=torch.float64), []
    expected = p.eval().log_joint(model.x, z)
    p.train()
    p.decoder.eval()
    sample = hmc.sample

    def spy(log_density: hmc.LogDensity, *settings: object) -> hmc.Draws:
        draws = sample(log_density, *settings)
        seen.append(log_density(z))
        return draws

    monkeypatch.setattr(hmc, "sample", spy)
    objective = MonteCarloEM(num_starts=5, transitions=4, weight_prior=False).double()
    objective.expectation(p, model.x)
    objective.evaluate(p, model.q, model.x)
    assert all(torch.equal(density, expected) for density in seen)
    assert len(seen) == 2
    assert (float(head.variance), int(head.num_updates)) == (0.3, 0)
    assert (p.training, p.decoder.training, head.training) == (True, False, True)
    estimates = list(objective.estimates(p, model.q, model.x))
    assert int(head.num_updates) == len(estimates)


def test_monte_carlo_em_fits_phi_only_where_the_prior_is_made_of_it() -> None:
    torch.manual_seed(0)
    shape = (1, 1, 3)
    for prior in (StandardNormal, partial(VampPrior, num_components=4)):
        p, q = pair(small_model(shape, prior=prior))
        objective = MonteCarloEM(num_starts=5, transitions=4, weight_prior=False)
        objective(p, q, torch.rand(6, *shape)).loss.backward()
        assert all((weight.grad is not None) is (prior is not StandardNormal) for weight in q.parameters())

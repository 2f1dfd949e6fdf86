"""The mean of each estimator's gradient, over many draws, against the exact one of a small linear-Gaussian model."""

import copy
import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from aevb.inference import hmc
from aevb.likelihoods import OptimalGaussian
from aevb.networks import MLPEncoder
from aevb.objectives import IWAE, SGVB, FullVB, MonteCarloEM, Objective, ScoreFunction, WakeSleep
from aevb.objectives.full_vb import means
from aevb.posteriors import DiagonalGaussian, InverseAutoregressiveFlow, Posterior, SplineFlow
from aevb.priors import StandardNormal, VampPrior
from aevb.vae import GenerativeModel, RecognitionModel

from ..ppca import PPCA, make_ppca
from ..small import pair, small_model

COPIES = 50
"""Draws in one call: the data are repeated so often."""


def exact_gradient(value: Tensor, weights: list[nn.Parameter]) -> Tensor:
    gradients = torch.autograd.grad(value, weights, allow_unused=True)
    parts = [torch.zeros_like(w) if g is None else g for w, g in zip(weights, gradients, strict=True)]
    return torch.cat([part.flatten() for part in parts])


def gradient_draws(
    objective: Objective, model: PPCA, weights: list[nn.Parameter], calls: int, copies: int = COPIES
) -> Tensor:
    """Gradients of the loss, (calls, number of weights), each a mean over `copies` draws."""
    torch.manual_seed(0)
    x = model.x.repeat(copies, 1, 1, 1)
    return torch.stack([exact_gradient(objective(model.p, model.q, x).loss, weights) for _ in range(calls)])


def standard_errors_off(draws: Tensor, exact: Tensor) -> float:
    """The largest deviation of the mean from `exact`, in standard errors."""
    error = draws.std(0) / math.sqrt(len(draws))
    return float(((draws.mean(0) - exact).abs() / (error + 1e-12)).max())


def assert_unbiased(draws: Tensor, exact: Tensor, precision: float = 0.05) -> None:
    """The mean is within 4.5 standard errors of `exact`, and the standard errors are small."""
    error = draws.std(0) / math.sqrt(len(draws))
    assert error.max() < precision * exact.abs().max(), "too few draws for a test that means something"
    assert standard_errors_off(draws, exact) < 4.5


def theta(model: PPCA) -> list[nn.Parameter]:
    return list(model.p.parameters())


def phi(model: PPCA) -> list[nn.Parameter]:
    return list(model.q.parameters())


ELBO_ESTIMATORS: dict[str, tuple[Callable[[], Objective], int]] = {
    "sgvb_a": (lambda: SGVB(kl="sampled", weight_prior=False), 300),
    "sgvb_b": (lambda: SGVB(kl="analytic", weight_prior=False), 300),
    "sgvb_b_L3": (lambda: SGVB(num_samples=3, weight_prior=False), 300),
    "iwae_K1": (lambda: IWAE(1, weight_prior=False), 300),
    "iwae_K1_dreg": (lambda: IWAE(1, "dreg", weight_prior=False), 300),
    "iwae_K1_stl": (lambda: IWAE(1, "stl", weight_prior=False), 300),
    "score": (lambda: ScoreFunction(weight_prior=False), 1500),
    "score_sampled_kl": (lambda: ScoreFunction(kl="sampled", weight_prior=False), 1500),
    "score_L3": (lambda: ScoreFunction(num_samples=3, weight_prior=False), 800),
    "score_learned": (lambda: ScoreFunction(baseline="learned", baseline_hidden=5, weight_prior=False), 1500),
    "score_leave_one_out": (lambda: ScoreFunction(3, "leave_one_out", weight_prior=False), 800),
    "score_leave_one_out_sampled_kl": (
        lambda: ScoreFunction(2, "leave_one_out", kl="sampled", weight_prior=False),
        800,
    ),
}


@pytest.mark.parametrize("name", ELBO_ESTIMATORS)
def test_the_gradient_of_the_elbo_is_unbiased(name: str) -> None:
    model = make_ppca(latent_dim=2, data_dim=3)
    make, calls = ELBO_ESTIMATORS[name]
    objective = make()
    objective.connect(model.p, model.q)
    objective.double()
    weights = theta(model) + phi(model)
    exact = exact_gradient(-model.elbo(model.x).mean(), weights)
    assert_unbiased(gradient_draws(objective, model, weights, calls), exact)


@pytest.mark.parametrize("baseline", ["learned", "leave_one_out"])
def test_baselines_reduce_the_variance_of_the_score_function(baseline: str) -> None:
    model = make_ppca(latent_dim=2, data_dim=3)

    def variance(objective: ScoreFunction) -> float:
        objective.connect(model.p, model.q)
        objective.double()
        gradient_draws(objective, model, phi(model), 100)  # for the running averages
        return float(gradient_draws(objective, model, phi(model), 300).var(0).sum())

    plain = variance(ScoreFunction(2, weight_prior=False))
    assert variance(ScoreFunction(2, baseline, weight_prior=False)) < 0.6 * plain
    assert variance(SGVB(2, weight_prior=False)) < 0.2 * plain  # the paper's argument


def test_the_learned_baseline_learns_the_mean_of_f() -> None:
    model = make_ppca(latent_dim=1, data_dim=2)
    objective = ScoreFunction(baseline="learned", baseline_hidden=20, baseline_decay=0.99, weight_prior=False)
    objective.connect(model.p, model.q)
    objective.double()
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.01)
    x = model.x.repeat(COPIES, 1, 1, 1)
    torch.manual_seed(0)
    for _ in range(400):
        loss = objective(model.p, model.q, x).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert objective.network is not None
    mean, scale = objective.network.statistics()
    learned = mean + scale * objective.network.layers(model.x).squeeze(-1).detach()
    exact = model.elbo(model.x).detach()
    assert torch.allclose(learned, exact, atol=0.3 * float(exact.std()))


# Importance weighted bounds: with one latent dimension and K = 2 the expectation is a two-dimensional integral.


def iwae_by_quadrature(model: PPCA, fixed_density: bool = False, squared: bool = False) -> Tensor:
    """E[log 1/2 (w_1 + w_2)] averaged over the data, by a product of Gauss-Hermite rules.

    With `fixed_density` its gradient for φ is the expectation of the sticking-the-landing estimator, and with `squared`
    too that of the doubly reparameterized one.
    """
    nodes, node_weights = (torch.from_numpy(a) for a in np.polynomial.hermite.hermgauss(60))
    posterior = model.q(model.x)
    base = posterior.base_dist
    z = (base.loc + base.scale * math.sqrt(2) * nodes.view(-1, 1, 1)).requires_grad_()
    density = torch.distributions.Normal(base.loc.detach(), base.scale.detach()) if fixed_density else base
    log_w = model.p.log_joint(model.x, z) - density.log_prob(z).sum(-1)
    pair = torch.stack(torch.broadcast_tensors(log_w[:, None], log_w[None, :]))
    probability = (node_weights[:, None] * node_weights[None, :] / math.pi).unsqueeze(-1)
    value = pair.logsumexp(0) - math.log(2)
    if squared:
        value = (pair.softmax(0).detach().square() * pair).sum(0)
    return (probability * value).sum((0, 1)).mean()


@pytest.fixture
def one_latent() -> PPCA:
    return make_ppca(latent_dim=1, data_dim=2, num_data=3)


@pytest.mark.parametrize("gradient", ["reparameterized", "dreg"])
def test_the_gradient_of_the_importance_weighted_bound_is_unbiased(one_latent: PPCA, gradient: str) -> None:
    weights = theta(one_latent) + phi(one_latent)
    exact = exact_gradient(-iwae_by_quadrature(one_latent), weights)
    draws = gradient_draws(IWAE(2, gradient, weight_prior=False), one_latent, weights, 800)
    assert_unbiased(draws, exact)


def test_quadrature_agrees_that_double_reparameterization_is_unbiased(one_latent: PPCA) -> None:
    exact = exact_gradient(iwae_by_quadrature(one_latent), phi(one_latent))
    doubly = exact_gradient(iwae_by_quadrature(one_latent, fixed_density=True, squared=True), phi(one_latent))
    assert torch.allclose(exact, doubly, atol=1e-8)


def test_sticking_the_landing_has_its_known_bias_for_phi_and_none_for_theta(one_latent: PPCA) -> None:
    objective = IWAE(2, "stl", weight_prior=False)
    of_theta = exact_gradient(-iwae_by_quadrature(one_latent), theta(one_latent))
    assert_unbiased(gradient_draws(objective, one_latent, theta(one_latent), 800), of_theta)
    draws = gradient_draws(objective, one_latent, phi(one_latent), 800)
    unbiased = exact_gradient(-iwae_by_quadrature(one_latent), phi(one_latent))
    biased = exact_gradient(-iwae_by_quadrature(one_latent, fixed_density=True), phi(one_latent))
    assert_unbiased(draws, biased)
    assert standard_errors_off(draws, unbiased) > 10


@pytest.mark.parametrize("gradient", ["stl", "dreg"])
def test_gradients_without_the_score_vanish_at_the_exact_posterior(gradient: str) -> None:
    model = make_ppca(latent_dim=2, data_dim=3, orthogonal=True)
    model.use_exact_posterior()
    objective = IWAE(3, gradient, weight_prior=False)
    assert gradient_draws(objective, model, phi(model), 5).abs().max() < 1e-10
    assert gradient_draws(IWAE(3, weight_prior=False), model, phi(model), 5).abs().max() > 1e-2


def flow_model(head: type[Posterior]) -> tuple[GenerativeModel, RecognitionModel, Tensor]:
    """A model whose posterior is a flow that is not the identity, in float64, and data."""
    torch.manual_seed(0)
    p, _, x = make_ppca(latent_dim=2, data_dim=3)
    q = RecognitionModel(x.shape[1:], MLPEncoder(x.shape[1:], hidden=[5]), head(5, 2, hidden=[6], context=3)).double()
    for weight in q.parameters():
        nn.init.normal_(weight, std=0.3)
    return p, q, x


@pytest.mark.parametrize("head", [InverseAutoregressiveFlow, SplineFlow])
@pytest.mark.parametrize("gradient", ["stl", "dreg"])
def test_gradients_without_the_score_leave_it_out_of_flows_too(head: type[Posterior], gradient: str) -> None:
    """Σ_k w̃_k ∂log w_k/∂z_k ∇_φ z_k, with w̃_k² for dreg, put together by hand from a copy of q whose φ is another."""
    p, q, x = flow_model(head)
    objective, weights, other = IWAE(3, gradient, weight_prior=False), list(q.parameters()), copy.deepcopy(q)
    torch.manual_seed(1)
    found = exact_gradient(objective(p, q, x).loss, weights)
    torch.manual_seed(1)
    z = q(x).rsample((3,))
    fixed_z = z.detach().requires_grad_()
    log_w = p.log_joint(x, fixed_z) - other(x).log_prob(fixed_z)
    (slope,) = torch.autograd.grad(log_w.sum(), fixed_z)
    share = log_w.detach().softmax(0) ** (2 if gradient == "dreg" else 1)
    expected = exact_gradient(-(share.unsqueeze(-1) * slope * z).sum() / len(x), weights)
    assert expected.abs().max() > 1e-2
    assert torch.allclose(found, expected)
    assert all(weight.requires_grad for weight in weights)


# Wake-sleep


def sleep_by_quadrature(model: PPCA) -> Tensor:
    """E_p(x,z)[log q(z|x)] for one latent and two data dimensions, by a product of three Gauss-Hermite rules."""
    nodes, weights = (torch.from_numpy(a) for a in np.polynomial.hermite.hermgauss(24))
    grid = math.sqrt(2) * torch.cartesian_prod(nodes, nodes, nodes)
    probability = torch.cartesian_prod(weights, weights, weights).prod(-1) / math.pi**1.5
    z, noise = grid[:, :1], grid[:, 1:]
    x = z @ model.weight.detach().T + model.bias.detach() + model.sigma * noise
    return (probability * model.q(x.view(-1, 1, 1, 2)).log_prob(z)).sum()


def test_wake_follows_the_elbo_and_sleep_the_dreams() -> None:
    model = make_ppca(latent_dim=1, data_dim=2)
    objective = WakeSleep(num_samples=2, weight_prior=False)
    of_theta = exact_gradient(-model.elbo(model.x).mean(), theta(model))
    assert_unbiased(gradient_draws(objective, model, theta(model), 500), of_theta)
    of_phi = exact_gradient(-sleep_by_quadrature(model), phi(model))
    assert_unbiased(gradient_draws(objective, model, phi(model), 500), of_phi)
    of_the_elbo = exact_gradient(-model.elbo(model.x).mean(), phi(model))
    assert (of_phi - of_the_elbo).abs().max() > 0.1, "the sleep phase is not expected to follow the ELBO"


@pytest.mark.parametrize("head", [DiagonalGaussian, partial(InverseAutoregressiveFlow, hidden=[6], context=3)])
def test_the_wake_phase_trains_the_pseudo_inputs_of_a_vamp_prior_and_not_phi(
    head: Callable[..., Posterior], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    shape = (1, 1, 3)
    p, q = pair(small_model(shape, posterior=head, prior=partial(VampPrior, num_components=4)))
    objective, x = WakeSleep(weight_prior=False), torch.rand(6, *shape)
    monkeypatch.setattr(objective, "dream", lambda p, q, count: torch.zeros(count))
    objective(p, q, x).loss.backward()
    assert all(weight.grad is None for weight in q.parameters())
    assert all(weight.grad is not None and weight.grad.any() for weight in p.parameters())
    monkeypatch.undo()
    objective(p, q, x).loss.backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in q.parameters())


# Monte Carlo EM


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


# Full variational Bayes


def full_bound(objective: FullVB, model: PPCA, num_data: int) -> Tensor:
    """The exact bound on log p(X)/N for independent Gaussian W, b and z, with gradients for all parameters."""
    posterior = model.q(model.x).base_dist
    m, s2 = posterior.loc.unsqueeze(1), posterior.scale.square().unsqueeze(1)
    (w, b), (w_variance, b_variance) = means(model.p).values(), [(2 * scale).exp() for scale in objective.log_scales]
    residual = (model.x.flatten(1) - (w * m).sum(-1) - b).square()
    spread = ((w.square() + w_variance) * (m.square() + s2) - w.square() * m.square()).sum(-1) + b_variance
    noise = model.sigma**2
    log_likelihood = -0.5 * (math.log(2 * math.pi * noise) + (residual + spread) / noise).sum(-1)
    kl = 0.5 * (m.square() + s2 - 1 - s2.log()).sum((-1, -2))
    kl_weights = sum(
        0.5 * (mean.square() + variance - 1 - variance.log()).sum()
        for mean, variance in ((w, w_variance), (b, b_variance))
    )
    return (log_likelihood - kl).mean() - kl_weights / num_data


@pytest.mark.parametrize("num_weight_samples", [1, 3])
def test_the_gradient_of_full_variational_bayes_is_unbiased(num_weight_samples: int) -> None:
    model = make_ppca(latent_dim=2, data_dim=3)
    objective = FullVB(num_weight_samples=num_weight_samples, initial_scale=0.3)
    objective.num_data = 40
    objective.connect(model.p, model.q)
    weights = theta(model) + phi(model) + list(objective.log_scales)
    exact = exact_gradient(-full_bound(objective, model, 40), weights)
    # All datapoints share a draw of the weights, so copies of them do not help much.
    assert_unbiased(gradient_draws(objective, model, weights, 2500, copies=5), exact)

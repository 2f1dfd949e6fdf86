"""The importance weighted bound, and the gradients for φ. For one latent dimension and K = 2 both are integrals."""

import copy
import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from aevb.networks import MLPEncoder
from aevb.objectives import IWAE
from aevb.posteriors import InverseAutoregressiveFlow, Posterior, SplineFlow
from aevb.vae import GenerativeModel, RecognitionModel

from ..ppca import PPCA, make_ppca
from ..small import shared_model, small_model
from .gradients import assert_unbiased, exact_gradient, gradient_draws, phi, standard_errors_off, theta


def test_the_importance_weighted_bound_rises_to_the_log_marginal() -> None:
    model = make_ppca(latent_dim=1, data_dim=2)
    exact = model.log_marginal(model.x).mean()
    x = model.x.repeat(200, 1, 1, 1)
    bounds, elbos = [], []
    for num_samples in (1, 3, 10, 100, 2000):
        estimate = IWAE(num_samples).evaluate(model.p, model.q, x)
        assert bool((estimate.elbo <= estimate.extras["iwae"] + 1e-12).all())
        bounds.append(float(estimate.extras["iwae"].mean()))
        elbos.append(float(estimate.elbo.mean()))
    assert bounds[0] == pytest.approx(elbos[0])
    assert bounds[:4] == sorted(bounds[:4])
    assert bounds[-1] == pytest.approx(float(exact), abs=0.01)
    assert elbos[-1] == pytest.approx(float(model.elbo(model.x).mean()), abs=0.01)
    assert elbos[-1] < float(exact) - 0.1


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


@pytest.mark.parametrize("gradient", ["reparameterized", "dreg"])
def test_groups_leave_the_gradient_unbiased_and_lessen_its_noise(one_latent: PPCA, gradient: str) -> None:
    weights = theta(one_latent) + phi(one_latent)
    exact = exact_gradient(-iwae_by_quadrature(one_latent), weights)
    draws, of_one = (
        gradient_draws(IWAE(2, gradient, num_groups=groups, weight_prior=False), one_latent, weights, 500)
        for groups in (4, 1)
    )
    assert_unbiased(draws, exact)
    assert float(draws.var(0).sum() / of_one.var(0).sum()) == pytest.approx(1 / 4, rel=0.2)


def test_the_bound_of_groups_is_the_mean_of_theirs(one_latent: PPCA) -> None:
    model, settings = one_latent, {"weight_prior": False}
    torch.manual_seed(0)
    grouped = IWAE(3, num_groups=2, **settings)(model.p, model.q, model.x)
    torch.manual_seed(0)
    z = model.q(model.x).rsample((6,))
    log_weights = model.p.log_joint(model.x, z) - model.q(model.x).log_prob(z)
    parts = [part.exp().mean(0).log() for part in log_weights.split(3)]
    assert torch.allclose(grouped.extras["iwae"], (parts[0] + parts[1]) / 2)
    assert torch.allclose(grouped.loss, -grouped.extras["iwae"].mean())


@pytest.mark.parametrize("elbo_weight", [0.3, 1.0])
def test_the_gradient_of_the_combination_with_the_elbo_is_unbiased(one_latent: PPCA, elbo_weight: float) -> None:
    weights = theta(one_latent) + phi(one_latent)
    elbo = one_latent.elbo(one_latent.x).mean()
    combination = elbo_weight * elbo + (1 - elbo_weight) * iwae_by_quadrature(one_latent)
    objective = IWAE(2, elbo_weight=elbo_weight, weight_prior=False)
    assert_unbiased(gradient_draws(objective, one_latent, weights, 800), exact_gradient(-combination, weights))
    estimate = objective(one_latent.p, one_latent.q, one_latent.x)
    expected = elbo_weight * estimate.elbo + (1 - elbo_weight) * estimate.extras["iwae"]
    assert torch.allclose(estimate.loss, -expected.mean())


@pytest.mark.parametrize("gradient", ["reparameterized", "stl", "dreg"])
def test_with_two_bounds_theta_has_the_gradient_of_all_samples_and_phi_that_of_groups(gradient: str) -> None:
    """PIWAE, put together by hand: θ by w̃ over all M K samples, φ by w̃ within each group, over M."""
    model = make_ppca(latent_dim=2, data_dim=3)
    p, q, x = model
    objective = IWAE(3, gradient, num_groups=2, bound_of_p="all", weight_prior=False)
    torch.manual_seed(0)
    estimate = objective(p, q, x)
    found = exact_gradient(estimate.loss, theta(model) + phi(model))
    torch.manual_seed(0)
    z, other = q(x).rsample((6,)), copy.deepcopy(q)
    log_w = p.log_joint(x, z) - (q if gradient == "reparameterized" else other)(x).log_prob(z)
    of_all = log_w.detach().softmax(0)
    of_groups = torch.cat([part.softmax(0) for part in log_w.detach().split(3)]) / 2
    share = 2 * of_groups**2 if gradient == "dreg" else of_groups
    of_theta, of_phi, of_miwae = (
        torch.cat([w.flatten() for w in torch.autograd.grad(-(part * log_w).sum(0).mean(), to, retain_graph=True)])
        for part, to in ((of_all, theta(model)), (share, phi(model)), (of_groups, theta(model)))
    )
    assert torch.allclose(found, torch.cat([of_theta, of_phi]))
    assert not torch.allclose(of_theta, of_miwae, rtol=0.01)
    assert torch.allclose(estimate.loss, -estimate.extras["iwae"].mean())


def test_with_two_bounds_the_gradients_are_unbiased_each_for_its_own(one_latent: PPCA) -> None:
    """With M = 2 and K = 1 that of all samples is the bound of two samples, and that of groups the ELBO."""
    objective = IWAE(1, num_groups=2, bound_of_p="all", weight_prior=False)
    of_theta = exact_gradient(-iwae_by_quadrature(one_latent), theta(one_latent))
    of_phi = exact_gradient(-one_latent.elbo(one_latent.x).mean(), phi(one_latent))
    draws = gradient_draws(objective, one_latent, theta(one_latent) + phi(one_latent), 800)
    assert_unbiased(draws, torch.cat([of_theta, of_phi]))


@pytest.mark.parametrize("gradient", ["reparameterized", "stl", "dreg"])
def test_with_one_group_two_bounds_are_one_to_the_bit(one_latent: PPCA, gradient: str) -> None:
    found = []
    for settings in ({}, {"bound_of_p": "all"}):
        torch.manual_seed(0)
        estimate = IWAE(3, gradient, **settings, weight_prior=False)(*one_latent)
        found.append([*estimate[:4], exact_gradient(estimate.loss, theta(one_latent) + phi(one_latent))])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_a_combination_with_the_elbo_is_refused_where_the_gradient_is_that_of_the_bound_alone() -> None:
    with pytest.raises(ValueError, match=r"^elbo_weight must be 0 with gradient=dreg, got 0\.5; use gradient="):
        IWAE(gradient="dreg", elbo_weight=0.5)


@pytest.mark.parametrize("gradient", ["stl", "dreg"])
def test_dropout_in_q_is_refused_where_q_is_computed_twice(gradient: str) -> None:
    vae = small_model((1, 4, 4), encoder=partial(MLPEncoder, hidden=[10], dropout=0.2))
    with pytest.raises(
        ValueError, match=f"^objective IWAE computes q\\(z\\|x\\) twice with gradient={gradient}, and dropout"
    ):
        IWAE(gradient=gradient).connect(vae.p, vae.q)
    IWAE().connect(vae.p, vae.q)
    IWAE(gradient=gradient).connect(vae.p, small_model((1, 4, 4)).q)


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


@pytest.mark.parametrize("name", ["ladder", "top_down"])
def test_layers_that_q_shares_with_the_prior_have_an_unbiased_gradient(name: str) -> None:
    """Doubly reparameterized, as reparameterized, from the same draws of z."""
    torch.manual_seed(2)
    vae = shared_model(name, (1, 1, 4)).double()
    for weight in vae.parameters():
        weight.data += 0.5 * torch.randn_like(weight)
    model = PPCA(vae.p, vae.q, torch.rand(3, 1, 1, 4).round().double())
    shared = list(vae.p.prior.parameters())
    plain, doubly = (
        gradient_draws(IWAE(3, gradient, weight_prior=False), model, shared, 50, copies=200)
        for gradient in ("reparameterized", "dreg")
    )
    assert_unbiased(doubly - plain + plain.mean(0), plain.mean(0))

"""β-TC-VAE, DIP-VAE and InfoVAE: their penalties against exact values, and SGVB at neutral settings."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import logsumexp
from scipy.stats import norm
from torch import Tensor

from aevb import posteriors, priors
from aevb.objectives import DIPVAE, SGVB, BetaTCVAE, InfoVAE, Objective
from aevb.objectives.regularized import squared_mmd, stratified_log_weights

from ..ppca import PPCA, make_ppca
from ..small import pair, small_model

NUM_DATA = 40


@pytest.fixture
def model() -> PPCA:
    return make_ppca(latent_dim=3, data_dim=4, num_data=NUM_DATA)


def loss_and_gradients(objective: Objective, model: PPCA) -> list[Tensor]:
    torch.manual_seed(0)
    objective.num_data = 100
    loss = objective(model.p, model.q, model.x).loss
    weights = [*model.p.parameters(), *model.q.parameters()]
    return [loss, *torch.autograd.grad(loss, weights), torch.get_rng_state()]


NEUTRAL: dict[str, Callable[..., Objective]] = {
    "tc": partial(BetaTCVAE, alpha=1, beta=1, gamma=1),
    "dip": partial(DIPVAE, off_diagonal=0, diagonal=0),
    "info": partial(InfoVAE, kl_weight=1, mmd_weight=0),
}


@pytest.mark.parametrize("kl", ["analytic", "sampled"])
@pytest.mark.parametrize("name", NEUTRAL)
def test_at_neutral_settings_it_is_sgvb_to_the_bit(name: str, kl: str, model: PPCA) -> None:
    neutral = loss_and_gradients(NEUTRAL[name](num_samples=2, kl=kl), model)
    plain = loss_and_gradients(SGVB(num_samples=2, kl=kl), model)
    assert all(torch.equal(one, other) for one, other in zip(neutral, plain, strict=True))


@pytest.mark.parametrize("objective", [BetaTCVAE, DIPVAE, InfoVAE])
def test_the_reported_elbo_is_the_true_one(objective: type[Objective], model: PPCA) -> None:
    estimates = []
    for made in (objective(weight_prior=False), SGVB(weight_prior=False)):
        torch.manual_seed(0)
        made.num_data = NUM_DATA
        estimates.append(made(model.p, model.q, model.x))
    regularized, plain = estimates
    assert torch.equal(regularized.elbo, plain.elbo)
    assert torch.equal(regularized.kl, plain.kl)
    assert not torch.isclose(regularized.loss, plain.loss)


def tc_terms(model: PPCA, x: Tensor, **settings: float) -> dict[str, Tensor]:
    objective = BetaTCVAE(kl="sampled", weight_prior=False, **settings)
    objective.num_data = NUM_DATA
    estimate = objective.estimate(model.p, model.q, x)
    return {"loss": estimate.loss, "kl": estimate.kl, "log_likelihood": estimate.log_likelihood, **estimate.extras}


def test_over_the_full_set_the_terms_are_those_of_the_exact_mixture(model: PPCA) -> None:
    torch.manual_seed(0)
    terms = tc_terms(model, model.x, alpha=0.5, beta=3.0, gamma=2.0)
    q = model.q(model.x).base_dist
    torch.manual_seed(0)
    z, mean, scale = (value.detach().numpy() for value in (model.q(model.x).rsample((1,))[0], q.loc, q.scale))
    log_components = norm.logpdf(z[:, None], mean, scale)  # (z, x, dimension)
    log_joint = logsumexp(log_components.sum(-1), axis=1) - math.log(NUM_DATA)
    log_product = (logsumexp(log_components, axis=1) - math.log(NUM_DATA)).sum(-1)
    log_given_x = norm.logpdf(z, mean, scale).sum(-1)
    expected = {
        "mutual_information": log_given_x - log_joint,
        "total_correlation": log_joint - log_product,
        "dimension_wise_kl": log_product - norm.logpdf(z).sum(-1),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name].detach().numpy(), value, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(terms["kl"].detach().numpy(), sum(expected.values()), rtol=1e-10)
    log_likelihood = float(terms["log_likelihood"].detach().mean())
    weighted = sum(weight * value.mean() for weight, value in zip((0.5, 3.0, 2.0), expected.values(), strict=True))
    assert float(terms["loss"].detach()) == pytest.approx(weighted - log_likelihood, rel=1e-10)


def test_their_sum_has_the_mean_of_the_closed_form_of_the_kl(model: PPCA) -> None:
    with torch.no_grad():
        names = ("mutual_information", "total_correlation", "dimension_wise_kl")
        draws = []
        for _ in range(400):
            terms = tc_terms(model, model.x)
            draws.append(sum(terms[name].mean() for name in names))
        exact = SGVB(kl="analytic").evaluate(model.p, model.q, model.x).kl.mean()
    draws = torch.stack(draws)
    assert abs(float(draws.mean() - exact)) < 4 * float(draws.std()) / math.sqrt(len(draws))


def test_the_aggregate_posterior_of_a_minibatch_is_unbiased(model: PPCA) -> None:
    """The weighted sum over minibatches that hold x_1 has the mean q(z) of the whole set, at a z drawn given x_1."""
    with torch.no_grad():
        q = model.q(model.x)
        density = q.log_prob(q.sample()[:1]).exp()
    weights = stratified_log_weights(torch.zeros(1, 5, 5, 3, dtype=torch.float64), NUM_DATA).exp()[0]
    assert float(weights[0]) == pytest.approx(1 / NUM_DATA)
    others = [1 + torch.randperm(NUM_DATA - 1)[:4] for _ in range(4000)]
    draws = torch.stack([weights[0] * density[0] + (weights[1:] * density[rest]).sum() for rest in others])
    assert abs(float(draws.mean() - density.mean())) < 4 * float(draws.std()) / math.sqrt(len(draws))


def test_one_datapoint_has_no_information_and_no_total_correlation(model: PPCA) -> None:
    with torch.no_grad():
        terms = tc_terms(model, model.x[:1])
    assert float(terms["mutual_information"]) == pytest.approx(0, abs=1e-12)
    assert float(terms["total_correlation"]) == pytest.approx(0, abs=1e-12)
    assert float(InfoVAE().estimate(model.p, model.q, model.x[:1]).extras["mmd"]) == 0


@pytest.mark.parametrize("covariance", ["means", "marginal"])
def test_the_penalties_of_dip_are_those_of_a_covariance_computed_by_hand(covariance: str, model: PPCA) -> None:
    settings = {"covariance": covariance, "off_diagonal": 2.0, "diagonal": 3.0, "weight_prior": False}
    with torch.no_grad():
        estimate = DIPVAE(**settings).estimate(model.p, model.q, model.x)
    q = model.q(model.x).base_dist
    expected = np.cov(q.loc.detach().numpy(), rowvar=False, bias=True)
    if covariance == "marginal":
        expected += np.diag(q.scale.detach().square().mean(0).numpy())
    diagonal = ((np.diag(expected) - 1) ** 2).sum()
    off_diagonal = (expected**2).sum() - (np.diag(expected) ** 2).sum()
    assert float(estimate.extras["covariance_diagonal"]) == pytest.approx(diagonal, rel=1e-10)
    assert float(estimate.extras["covariance_off_diagonal"]) == pytest.approx(off_diagonal, rel=1e-10)
    penalty = float(estimate.loss + estimate.elbo.mean())
    assert penalty == pytest.approx(2 * off_diagonal + 3 * diagonal, rel=1e-10)


def mean_of_kernel(kernel: str, h: float, shift: float, variance: float) -> float:
    """E[k(a, b)] for a − b ~ N(shift, variance), by quadrature."""

    def integrand(d: float) -> float:
        r = d**2 / (2 * h**2)
        return norm.pdf(d, shift, math.sqrt(variance)) * (math.exp(-r) if kernel == "rbf" else 1 / (1 + r))

    return float(quad(integrand, -30, 30, points=[0, shift])[0])


def squared_mmd_of_gaussians(kernel: str, h: float, mean: float, scale: float) -> float:
    """Of N(mean, scale²) and N(0, 1)."""
    within = mean_of_kernel(kernel, h, 0, 2 * scale**2) + mean_of_kernel(kernel, h, 0, 2)
    return within - 2 * mean_of_kernel(kernel, h, mean, scale**2 + 1)


def test_the_quadrature_of_the_rbf_kernel_is_its_closed_form() -> None:
    h, shift, variance = 0.7, 1.2, 2.5
    exact = math.sqrt(h**2 / (h**2 + variance)) * math.exp(-(shift**2) / (2 * (h**2 + variance)))
    assert mean_of_kernel("rbf", h, shift, variance) == pytest.approx(exact, rel=1e-8)


@pytest.mark.parametrize(("mean", "scale"), [(0.0, 1.0), (0.5, 1.0), (-0.3, 0.4)])
@pytest.mark.parametrize("kernel", ["rbf", "imq"])
def test_the_mmd_of_two_gaussians_is_unbiased(kernel: str, mean: float, scale: float) -> None:
    """Its mean is 0 for equal laws, and for others the value by quadrature."""
    z = mean + scale * torch.randn(4000, 10, 1, dtype=torch.float64)
    draws = squared_mmd(z, torch.randn_like(z), kernel, 0.7)
    exact = squared_mmd_of_gaussians(kernel, 0.7, mean, scale)
    assert exact == pytest.approx(0, abs=1e-9) if (mean, scale) == (0.0, 1.0) else exact > 0.01
    assert abs(float(draws.mean()) - exact) < 4 * float(draws.std()) / math.sqrt(len(draws))


def test_info_weighs_the_kl_and_the_mmd_of_several_dimensions(model: PPCA) -> None:
    """A posterior N(m, I) whatever x is, of three dimensions: the MMD has a closed form."""
    bias = model.q.head.layer.bias
    with torch.no_grad():
        model.q.head.layer.weight.zero_()
        bias.zero_()[:3] = 0.8
    objective = InfoVAE(kl_weight=0.25, mmd_weight=5.0, weight_prior=False)
    x = model.x.repeat(5, 1, 1, 1)
    with torch.no_grad():
        estimates = [objective.estimate(model.p, model.q, x) for _ in range(60)]
    draws = torch.stack([estimate.extras["mmd"] for estimate in estimates])
    h2 = 3.0  # h = √D
    exact = 2 * (h2 / (h2 + 2)) ** 1.5 * (1 - math.exp(-3 * 0.8**2 / (2 * (h2 + 2))))
    assert abs(float(draws.mean()) - exact) < 4 * float(draws.std()) / math.sqrt(len(draws))
    last = estimates[-1]
    expected = 0.25 * last.kl.mean() + 5 * last.extras["mmd"] - last.log_likelihood.mean()
    assert torch.isclose(last.loss, expected)


@pytest.mark.parametrize(("name", "objective"), [("tc", BetaTCVAE()), ("dip", DIPVAE())])
def test_a_posterior_that_does_not_factorize_is_refused(name: str, objective: Objective) -> None:
    p, q = pair(small_model((1, 2, 2), posterior=posteriors.FullGaussian))
    objective.num_data = 10
    with pytest.raises(ValueError, match=rf"^objective={name} needs a posterior that factorizes .* CholeskyGaussian$"):
        objective(p, q, torch.rand(3, 1, 2, 2))


def test_info_takes_any_posterior_and_a_learned_prior_is_its_fixed_target() -> None:
    p, q = pair(small_model((1, 2, 2), posterior=posteriors.FullGaussian, prior=priors.MixtureOfGaussians))
    objective, x = InfoVAE(num_samples=2, kl_weight=0.0, weight_prior=False), torch.rand(6, 1, 2, 2)
    objective(p, q, x).loss.backward()
    assert all(float(weight.grad.abs().max()) < 1e-6 for weight in p.prior.parameters() if weight.grad is not None)
    assert all(float(weight.grad.abs().sum()) > 0 for weight in q.parameters())

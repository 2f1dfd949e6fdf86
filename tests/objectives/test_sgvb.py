"""SGVB: the ELBO it reports, and what beta, its warm-up and free bits do to its loss."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal
from torch.func import functional_call

from aevb.likelihoods import Bernoulli, Gaussian
from aevb.objectives import SGVB, Estimate
from aevb.objectives.base import log_weight_prior

from ..ppca import PPCA, make_ppca
from ..small import pair, small_model


@pytest.fixture
def model() -> PPCA:
    return make_ppca(latent_dim=3, data_dim=4, num_data=50)


def estimate(objective: SGVB, model: PPCA) -> Estimate:
    torch.manual_seed(0)
    return objective(model.p, model.q, model.x)


def kl_per_dimension(model: PPCA) -> Tensor:
    """Appendix B, (B, latent_dim)."""
    base = model.q(model.x).base_dist
    return -0.5 * (1 + base.scale.square().log() - base.loc.square() - base.scale.square())


@pytest.mark.parametrize("kl", ["analytic", "sampled"])
def test_the_elbo_has_the_exact_mean(model: PPCA, kl: str) -> None:
    with torch.no_grad():
        draws = torch.stack([SGVB(20, kl).estimate(model.p, model.q, model.x).elbo for _ in range(200)])
    error = draws.std(0) / math.sqrt(len(draws))
    exact = model.elbo(model.x)
    assert ((draws.mean(0) - exact).abs() / error).max() < 4.5
    assert bool((exact < model.log_marginal(model.x)).all())


@pytest.mark.parametrize("changes", [{"beta": 4.0}, {"beta_warmup_samples": 100}, {"free_bits": 0.3}])
def test_the_reported_elbo_is_the_true_one(model: PPCA, changes: dict[str, float]) -> None:
    plain = estimate(SGVB(weight_prior=False), model)
    changed = estimate(SGVB(weight_prior=False, **changes), model)
    assert torch.equal(plain.elbo, changed.elbo)
    assert torch.equal(plain.kl, changed.kl)
    assert not torch.isclose(plain.loss, changed.loss)
    assert plain.extras == {}
    assert torch.equal(SGVB().evaluate(model.p, model.q, model.x).kl, plain.kl)


@pytest.mark.parametrize("beta", [4.0, 4])
def test_beta_weighs_the_kl(model: PPCA, beta: float) -> None:
    changed = estimate(SGVB(beta=beta, weight_prior=False), model)
    assert changed.metrics()["beta"].is_floating_point()
    assert torch.isclose(changed.loss, 4 * changed.kl.mean() - changed.log_likelihood.mean())
    assert float(changed.extras["beta"]) == 4


@pytest.mark.parametrize(("samples", "share"), [(0, 0.0), (50_000_000, 0.25), (200_000_000, 1.0), (10**9, 1.0)])
def test_beta_rises_with_the_samples_seen(model: PPCA, samples: int, share: float) -> None:
    objective = SGVB(beta=2.0, beta_warmup_samples=200_000_000, weight_prior=False)
    objective.samples_seen.fill_(samples)
    changed = estimate(objective, model)
    assert float(changed.extras["beta"]) == pytest.approx(2 * share)
    expected = 2 * share * changed.kl.mean() - changed.log_likelihood.mean()
    assert float(changed.loss.detach()) == pytest.approx(float(expected.detach()))


def test_samples_are_counted_exactly_and_are_no_part_of_the_state() -> None:
    objective = SGVB()
    objective.samples_seen.fill_(10**8 + 1)
    assert int(objective.samples_seen) == 10**8 + 1  # float32 would say 10⁸
    assert "samples" not in objective.state_dict()


def test_free_bits_per_dimension_spare_what_is_below(model: PPCA) -> None:
    exact = kl_per_dimension(model).mean(0)
    threshold = float(exact.detach().sort().values[1]) + 0.01
    changed = estimate(SGVB(free_bits=threshold, weight_prior=False), model)
    charged = exact.clamp(min=threshold).sum()
    assert float(charged) > float(exact.sum()) + 0.01
    assert torch.isclose(changed.extras["kl_free_bits"], charged)
    assert torch.isclose(changed.loss, charged - changed.log_likelihood.mean())
    (gradient,) = torch.autograd.grad(changed.extras["kl_free_bits"], [model.q.head.layer.bias])
    assert (gradient[:3] != 0).tolist() == (exact > threshold).tolist()


def test_free_bits_per_datapoint_spare_the_mean_over_the_minibatch(model: PPCA) -> None:
    mean = kl_per_dimension(model).sum(-1).mean()
    below = estimate(SGVB(free_bits=float(mean) - 0.1, free_bits_per="datapoint", weight_prior=False), model)
    above = estimate(SGVB(free_bits=float(mean) + 0.1, free_bits_per="datapoint", weight_prior=False), model)
    assert torch.isclose(below.extras["kl_free_bits"], mean)
    assert torch.isclose(above.extras["kl_free_bits"], mean + 0.1)


def test_free_bits_work_with_a_sampled_kl(model: PPCA) -> None:
    changed = estimate(SGVB(5000, kl="sampled", free_bits=0.2, weight_prior=False), model)
    expected = kl_per_dimension(model).mean(0).clamp(min=0.2).sum()
    assert float(changed.extras["kl_free_bits"]) == pytest.approx(float(expected), rel=0.02)


def test_beta_applies_to_free_bits_too(model: PPCA) -> None:
    changed = estimate(SGVB(beta=0.5, free_bits=1.0, weight_prior=False), model)
    assert torch.isclose(changed.loss, 0.5 * changed.extras["kl_free_bits"] - changed.log_likelihood.mean())


@pytest.mark.parametrize(("samples", "share"), [(0, 0.0), (250, 0.25), (4000, 1.0)])
@pytest.mark.parametrize("above", [True, False])
def test_the_kl_is_pressed_towards_a_capacity_that_rises(model: PPCA, samples: int, share: float, above: bool) -> None:
    exact = kl_per_dimension(model).sum(-1).mean()
    capacity = float(exact.detach()) * (0.5 if above else 3.0)
    objective = SGVB(beta=5.0, capacity=capacity, capacity_samples=1000, weight_prior=False)
    objective.samples_seen.fill_(samples)
    changed = estimate(objective, model)
    assert float(changed.extras["capacity"]) == pytest.approx(share * capacity)
    difference = exact - share * capacity
    assert torch.isclose(changed.loss, 5 * difference.abs() - changed.log_likelihood.mean())
    plain = estimate(SGVB(weight_prior=False), model)
    assert torch.equal(changed.elbo, plain.elbo)
    (slope,) = torch.autograd.grad(changed.loss + changed.log_likelihood.mean(), [model.q.head.layer.bias])
    (of_kl,) = torch.autograd.grad(exact, [model.q.head.layer.bias])
    torch.testing.assert_close(slope, of_kl * (5 if difference > 0 else -5))


def test_without_a_capacity_nothing_changes(model: PPCA) -> None:
    off, plain = (estimate(made, model).loss for made in (
        SGVB(beta=2.0, capacity_samples=10, weight_prior=False), SGVB(beta=2.0, weight_prior=False)
    ))  # fmt: skip
    assert torch.equal(off, plain)


class Correlated(torch.nn.Module):
    """A posterior that does not factorize."""

    def forward(self, x: Tensor) -> MultivariateNormal:
        return MultivariateNormal(torch.zeros(len(x), 3, dtype=x.dtype), torch.eye(3, dtype=x.dtype))


def test_free_bits_per_dimension_refuse_a_posterior_that_does_not_factorize(model: PPCA) -> None:
    objective = SGVB(free_bits=0.1, kl="sampled", weight_prior=False)
    with pytest.raises(ValueError, match=r"^objective\.free_bits_per=dimension needs .* MultivariateNormal; use"):
        objective(model.p, Correlated(), model.x)
    SGVB(free_bits=0.1, free_bits_per="datapoint", kl="sampled", weight_prior=False)(model.p, Correlated(), model.x)


def test_unknown_analytic_kl_is_an_error(model: PPCA, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr("aevb.distributions.kl.kl_divergence", unknown)
    with pytest.raises(
        ValueError, match=r"^objective\.kl=analytic: no closed form is known for Normal and Normal; use"
    ):
        SGVB(kl="analytic").estimate(model.p, model.q, model.x)
    auto, sampled = (estimate(SGVB(kl=kl, weight_prior=False), model) for kl in ("auto", "sampled"))
    assert torch.equal(auto.elbo, sampled.elbo)


def test_the_weight_prior_is_in_the_loss_and_not_in_the_elbo(model: PPCA) -> None:
    objective = SGVB()
    with pytest.raises(RuntimeError, match=r"^objective\.weight_prior needs objective\.num_data"):
        estimate(objective, model)
    objective.num_data = 50
    with_prior, without = estimate(objective, model), estimate(SGVB(weight_prior=False), model)
    weights = torch.cat([weight.flatten() for weight in model.p.parameters()])
    log_prior = torch.distributions.Normal(0, 1).log_prob(weights).sum()
    assert torch.isclose(log_weight_prior(model.p), log_prior)
    assert torch.isclose(with_prior.loss, without.loss - log_prior / 50)
    assert torch.isclose(with_prior.extras["log_weight_prior"], log_prior / 50)
    assert torch.equal(with_prior.elbo, without.elbo)


class Loss(nn.Module):
    """The loss as a function of the weights alone, with the noise held fixed."""

    def __init__(self, likelihood, kl: str) -> None:
        super().__init__()
        self.p, self.q = pair(small_model((1, 2, 2), hidden=3, likelihood=likelihood))
        self.objective = SGVB(num_samples=2, kl=kl)
        self.objective.num_data = 10

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)
        return self.objective(self.p, self.q, x).loss


@pytest.mark.parametrize("kl", ["analytic", "sampled"])
@pytest.mark.parametrize("likelihood", [Bernoulli, Gaussian])
def test_gradient_of_every_weight_is_that_of_finite_differences(likelihood, kl):
    torch.manual_seed(0)
    loss = Loss(likelihood, kl).double()
    x = torch.rand(3, 1, 2, 2, dtype=torch.float64)
    names = [name for name, _ in loss.named_parameters()]
    weights = [weight.detach().clone().requires_grad_() for weight in loss.parameters()]

    def of_weights(*values: torch.Tensor) -> torch.Tensor:
        return functional_call(loss, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(of_weights, weights)

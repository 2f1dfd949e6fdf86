"""Every bound against the exact log marginal likelihood of probabilistic PCA."""

import math
from collections.abc import Callable

import pytest
import torch
from scipy.special import logsumexp
from torch import Tensor

from aevb.objectives import IWAE, SGVB, FullVB, MonteCarloEM, Objective, ScoreFunction, WakeSleep

from ..ppca import PPCA, make_ppca


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "sgvb": lambda: SGVB(weight_prior=False),
    "iwae": lambda: IWAE(weight_prior=False),
    "score_function": lambda: ScoreFunction(weight_prior=False),
    "wake_sleep": lambda: WakeSleep(weight_prior=False),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_elbo_is_the_exact_one_below_the_log_marginal(name: str) -> None:
    model, objective = make_ppca(latent_dim=2, data_dim=3), OBJECTIVES[name]()
    x = model.x.repeat(500, 1, 1, 1)
    exact = model.elbo(x).mean().detach()
    assert exact < model.log_marginal(x).mean() - 0.1
    for estimate in (objective(model.p, model.q, x), objective.evaluate(model.p, model.q, x)):
        error = estimate.elbo.detach().view(500, -1).std(0).square().sum().sqrt() / len(model.x) / math.sqrt(500)
        assert float((estimate.elbo.detach().mean() - exact).abs() / error) < 4
        assert torch.allclose(estimate.elbo, estimate.log_likelihood - estimate.kl)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_with_the_exact_posterior_the_elbo_is_the_log_marginal(name: str) -> None:
    model, objective = make_ppca(latent_dim=2, data_dim=3, orthogonal=True), OBJECTIVES[name]()
    model.use_exact_posterior()
    exact = model.log_marginal(model.x)
    assert torch.allclose(model.elbo(model.x), exact)
    if name == "iwae":  # its KL is sampled: every draw is exact
        estimate = objective.evaluate(model.p, model.q, model.x)
        assert torch.allclose(estimate.elbo, exact)
        assert torch.allclose(estimate.extras["iwae"], exact)
    else:
        elbo = objective.evaluate(model.p, model.q, model.x.repeat(2000, 1, 1, 1)).elbo.view(2000, -1)
        assert torch.allclose(elbo.mean(0), exact, atol=0.1)


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


def train(model: PPCA, objective: Objective, steps: int, lr: float = 0.05) -> None:
    """Full-batch training whose step size falls to zero."""
    objective.num_data = len(model.x)
    objective.connect(model.p, model.q)
    objective.double()
    parameters = [*model.p.parameters(), *model.q.parameters(), *objective.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        for estimate in objective.estimates(model.p, model.q, model.x):
            optimizer.zero_grad()
            estimate.loss.backward()
            optimizer.step()
        schedule.step()


LEARNERS: dict[str, tuple[Callable[[], Objective], int]] = {
    "sgvb": (lambda: SGVB(weight_prior=False), 500),
    "sgvb_sampled": (lambda: SGVB(kl="sampled", weight_prior=False), 500),
    "iwae": (lambda: IWAE(3, weight_prior=False), 500),
    "iwae_dreg": (lambda: IWAE(3, "dreg", weight_prior=False), 500),
    "iwae_stl": (lambda: IWAE(3, "stl", weight_prior=False), 500),
    "score_learned": (lambda: ScoreFunction(baseline="learned", weight_prior=False), 800),
    "score_leave_one_out": (lambda: ScoreFunction(4, "leave_one_out", weight_prior=False), 800),
    "wake_sleep": (lambda: WakeSleep(2, weight_prior=False), 800),
    "monte_carlo_em": (lambda: MonteCarloEM(num_starts=20, transitions=6, weight_prior=False), 100),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_training_arrives_at_the_maximum_of_the_likelihood(name: str) -> None:
    """Where q can be exact, each algorithm's fixed point is the maximum likelihood solution, which is known."""
    model = make_ppca(latent_dim=1, data_dim=4, num_data=300, sigma=0.5, seed=1)
    best = model.best_log_marginal()
    with torch.no_grad():
        for weight in model.p.parameters():
            weight.copy_(0.5 * torch.randn_like(weight))
    assert float(model.log_marginal(model.x).mean()) < best - 0.3
    make, steps = LEARNERS[name]
    train(model, make(), steps)
    reached = float(model.log_marginal(model.x).mean())
    assert best - 0.02 < reached < best + 1e-9
    if name != "monte_carlo_em":
        assert reached - 0.02 < float(model.elbo(model.x).mean()) < reached


def log_evidence(x: Tensor, sigma: float) -> float:
    """log p(X) for one latent and one data dimension with w, b ~ N(0, 1) integrated out, by the trapezoidal rule."""
    grid = torch.linspace(-5, 5, 401, dtype=torch.float64)
    w, b = torch.meshgrid(grid, grid, indexing="ij")
    scale = (w.square() + sigma**2).sqrt().unsqueeze(-1)
    log_joint = torch.distributions.Normal(b.unsqueeze(-1), scale).log_prob(x.flatten()).sum(-1)
    log_joint += torch.distributions.Normal(0, 1).log_prob(torch.stack([w, b])).sum(0)
    return float(logsumexp(log_joint.numpy())) + 2 * math.log(float(grid[1] - grid[0]))


def test_full_variational_bayes_bounds_the_evidence_of_the_data() -> None:
    model = make_ppca(latent_dim=1, data_dim=1, num_data=40, sigma=1.0, seed=2)
    evidence = log_evidence(model.x, model.sigma)
    objective = FullVB(num_weight_samples=4, initial_scale=0.1)
    train(model, objective, 800)
    with torch.no_grad():
        estimates = [objective.evaluate(model.p, model.q, model.x) for _ in range(500)]
    bounds = len(model.x) * torch.stack([estimate.elbo.mean() for estimate in estimates])
    error = float(bounds.std()) / math.sqrt(len(bounds))
    assert float(bounds.mean()) + 4 * error < evidence
    # w and −w explain the data alike, and a Gaussian can cover one of them only: log 2 nats. A few more for the
    # independence of w, b and z.
    assert float(bounds.mean()) > evidence - math.log(2) - 2.5
    last = estimates[-1]
    assert torch.allclose(last.elbo, last.log_likelihood - last.kl - last.extras["kl_weights"])


def test_full_variational_bayes_learns_how_sure_the_weights_are() -> None:
    """With z almost known, b is a mean of N values with noise σ: its posterior has the scale σ/√(N + σ²)."""
    model = make_ppca(latent_dim=1, data_dim=1, num_data=100, sigma=0.5)
    with torch.no_grad():
        model.weight.fill_(0.0)
    model.weight.requires_grad_(False)
    objective = FullVB(num_weight_samples=4, initial_scale=0.3)
    train(model, objective, 800)
    assert len(objective.log_scales) == 1
    expected = model.sigma / math.sqrt(len(model.x) + model.sigma**2)
    assert float(objective.log_scales[0].exp()) == pytest.approx(expected, rel=0.1)
    assert float(model.bias) == pytest.approx(float(model.x.mean()), abs=0.3 * expected)

"""Every bound against the exact log marginal likelihood of probabilistic PCA."""

import math
from collections.abc import Callable

import pytest
import torch

from aevb.objectives import IWAE, SGVB, HamiltonianVAE, MonteCarloEM, Objective, ScoreFunction, WakeSleep

from ..ppca import make_ppca
from .gradients import train

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


LEARNERS: dict[str, tuple[Callable[[], Objective], int]] = {
    "sgvb": (lambda: SGVB(weight_prior=False), 500),
    "sgvb_sampled": (lambda: SGVB(kl="sampled", weight_prior=False), 500),
    "iwae": (lambda: IWAE(3, weight_prior=False), 500),
    "iwae_dreg": (lambda: IWAE(3, "dreg", weight_prior=False), 500),
    "iwae_stl": (lambda: IWAE(3, "stl", weight_prior=False), 500),
    "piwae": (lambda: IWAE(3, num_groups=2, bound_of_p="all", weight_prior=False), 500),
    "hamiltonian": (lambda: HamiltonianVAE(leapfrog_steps=2, weight_prior=False), 500),
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

"""The score function's baselines."""

import pytest
import torch

from aevb.objectives import SGVB, ScoreFunction

from ..ppca import make_ppca
from .gradients import COPIES, gradient_draws, phi


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

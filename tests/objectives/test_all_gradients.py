"""The mean of the gradient of every estimator of the ELBO, over many draws, against the exact one."""

from collections.abc import Callable

import pytest

from aevb.objectives import IWAE, SGVB, Objective, ScoreFunction

from ..ppca import make_ppca
from .gradients import assert_unbiased, exact_gradient, gradient_draws, phi, theta

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

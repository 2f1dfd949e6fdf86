"""Discrete latent variables, relaxed in training."""

import math
from functools import partial

import pytest
import torch

from aevb import posteriors, priors
from aevb.distributions.one_hot import OneHotGroups, RelaxedOneHotGroups
from aevb.errors import ConfigError
from aevb.estimators import Enumeration, LocalELBO
from aevb.objectives import IWAE, SGVB, ScoreFunction, WakeSleep
from aevb.training.module import AEVB

from ..small import small_model


def discrete(latent_dim: int = 6, categories: int = 3, learned: bool = False, **settings):
    torch.manual_seed(0)
    return small_model(
        (1, 4, 4),
        latent_dim=latent_dim,
        posterior=partial(posteriors.Concrete, categories=categories, **settings),
        prior=partial(priors.Categorical, categories=categories, learned=learned),
    )


X = torch.stack([torch.arange(16.0) % 2, torch.ones(16)]).reshape(2, 1, 4, 4)


def test_z_is_relaxed_in_training_and_one_hot_in_evaluation():
    vae = discrete()
    assert isinstance(vae.q(X), RelaxedOneHotGroups)
    assert isinstance(vae.p.prior(), RelaxedOneHotGroups)
    vae.eval()
    assert type(vae.q(X)) is type(vae.p.prior()) is OneHotGroups
    assert set(vae.p.sample_prior(10, 5).unique().tolist()) == {0.0, 1.0}
    assert type(discrete(temperature=None).q(X)) is OneHotGroups


def test_the_temperature_falls_with_the_training_samples():
    vae = discrete(temperature=2.0, min_temperature=0.3, halving_samples=1000)
    module = AEVB(vae, SGVB(), partial(torch.optim.Adam, lr=0.01))
    for samples, expected in ((0, 2.0), (1000, 1.0), (2500, 2 * 2**-2.5), (10**6, 0.3)):
        module.objective.samples_seen.fill_(samples)
        assert float(vae.q(X).temperature) == pytest.approx(expected)
        assert float(vae.p.prior().temperature) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("objective", "settings"),
    [
        (SGVB(weight_prior=False), {}),
        (IWAE(5, weight_prior=False), {"learned": True}),
        (ScoreFunction(weight_prior=False), {"temperature": None}),
        (WakeSleep(weight_prior=False), {"temperature": None}),
    ],
)
def test_objectives_raise_log_p_of_the_discrete_model(objective, settings):
    """Of data of two kinds, which one of the groups can tell apart: −log 2 is the most; without z, −8 log 2."""
    vae, x = discrete(**settings), X.repeat(50, 1, 1, 1)
    objective.connect(vae.p, vae.q)
    optimizer = torch.optim.Adam([*vae.parameters(), *objective.parameters()], lr=0.02)
    for _ in range(400):
        loss = objective(vae.p, vae.q, x).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    vae.eval()
    assert -1.0 < Enumeration().estimate(vae, X, 1000).mean < -math.log(2) + 1e-6


def test_relaxed_draws_are_asked_for_where_there_are_none():
    vae = discrete(temperature=None)
    with pytest.raises(ConfigError, match="draws of one-hot z have no gradient"):
        SGVB(weight_prior=False)(vae.p, vae.q, X)
    with pytest.raises(ConfigError, match="z is one-hot; use elbo"):
        LocalELBO(num_steps=2).estimate(discrete().eval(), X, 10)


def test_groups_must_fit():
    with pytest.raises(ValueError, match="latent_dim must be a multiple of categories, 3, got 7"):
        discrete(latent_dim=7)
    with pytest.raises(ValueError, match="prior Categorical has groups of 2 categories, but posterior Concrete of 3"):
        small_model(
            (1, 2, 2),
            latent_dim=6,
            posterior=partial(posteriors.Concrete, categories=3),
            prior=partial(priors.Categorical, categories=2),
        )
    with pytest.raises(ValueError, match="z is one-hot under prior Categorical, but real under posterior"):
        small_model((1, 2, 2), latent_dim=6, prior=partial(priors.Categorical, categories=3))

"""Priors of constrained values against scipy."""

import numpy as np
import pytest
import scipy.stats
import torch

from aevb import priors


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("prior", "reference"),
    [
        (priors.LogNormal(3, loc=-0.3, scale=0.7), scipy.stats.lognorm(0.7, scale=np.exp(-0.3))),
        (priors.Gamma(3, alpha=2.5, rate=0.5), scipy.stats.gamma(2.5, scale=2)),
        (priors.Beta(3, alpha=2.5, beta=0.5), scipy.stats.beta(2.5, 0.5)),
        (priors.Dirichlet(3, alpha=0.5), scipy.stats.dirichlet([0.5] * 3)),
    ],
)
def test_constrained_priors_are_scipys(prior, reference):
    prior = prior.double()
    z = prior().sample((5000,))
    assert z.shape == (5000, 3)
    is_simplex = prior.support == "on the simplex"
    expected = reference.logpdf(z.T.numpy()) if is_simplex else reference.logpdf(z).sum(-1)
    assert np.allclose(prior().log_prob(z), expected)
    marginal = scipy.stats.beta(0.5, 1.0) if is_simplex else reference
    assert min(scipy.stats.kstest(column, marginal.cdf).pvalue for column in z.T.numpy()) > 1e-4
    assert not list(prior.parameters())
    assert not prior.state_dict()


@pytest.mark.parametrize("kind", [priors.LogNormal, priors.Gamma, priors.Beta, priors.Dirichlet])
def test_bad_settings_stop_with_one_line(kind):
    name = "scale" if kind is priors.LogNormal else "alpha"
    with pytest.raises(ValueError, match=f"^{name} must be a positive number, got 0"):
        kind(2, **{name: 0.0})


def test_draws_are_positive_in_float32():
    z = priors.Gamma(2, alpha=0.01)().sample(torch.Size((10_000,)))
    assert (z > 0).all()

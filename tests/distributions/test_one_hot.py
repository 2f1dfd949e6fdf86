"""One-hot groups and their relaxation against torch's distributions and numerical integration."""

import math

import pytest
import scipy.integrate
import torch
from torch.distributions import Categorical, Independent, OneHotCategorical, RelaxedOneHotCategorical, kl_divergence

from aevb.distributions.one_hot import OneHotGroups, RelaxedOneHotGroups
from aevb.errors import ConfigError


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def logits_of(batch: int = 2, groups: int = 2, categories: int = 3) -> torch.Tensor:
    return torch.randn(batch, groups, categories).double()


def test_probabilities_and_draws_are_torchs():
    logits = logits_of()
    ours, torchs = OneHotGroups(logits), Independent(OneHotCategorical(logits=logits), 1)
    z = ours.sample((20_000,))
    assert z.shape == (20_000, 2, 6)
    assert torch.allclose(ours.log_prob(z), torchs.log_prob(z.unflatten(-1, (2, 3))))
    assert torch.allclose(ours.mean, torchs.mean.flatten(1))
    assert torch.allclose(ours.variance, torchs.variance.flatten(1))
    assert ((z.mean(0) - ours.mean).abs() < 5 * (ours.variance / 20_000).sqrt()).all()
    support = ours.enumerate_support()
    assert support.unique(dim=0).shape == (9, 6)
    assert torch.allclose(ours.log_prob(support.unsqueeze(1)).exp().sum(0), torch.ones(2).double())


def test_the_kl_is_that_of_the_categories():
    q, p = logits_of(), logits_of(1)[0]
    expected = kl_divergence(Categorical(logits=q), Categorical(logits=p)).sum(-1)
    assert torch.allclose(kl_divergence(OneHotGroups(q), OneHotGroups(p)), expected)
    temperature = torch.tensor(0.7).double()
    relaxed = [RelaxedOneHotGroups(each, temperature) for each in (q, p)]
    assert torch.allclose(kl_divergence(*relaxed), expected)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_relaxed_density_is_torchs_and_integrates_to_one(temperature):
    logits, tau = logits_of(), torch.tensor(temperature).double()
    ours = RelaxedOneHotGroups(logits, tau)
    z = ours.rsample((500,))
    assert torch.allclose(z.unflatten(-1, (2, 3)).sum(-1), torch.ones(500, 2, 2).double())
    torchs = Independent(RelaxedOneHotCategorical(tau, logits=logits, validate_args=False), 1)
    assert torch.allclose(ours.log_prob(z), torchs.log_prob(z.unflatten(-1, (2, 3))), atol=1e-6)
    pair = RelaxedOneHotGroups(torch.tensor([[[0.3, -0.5]]]).double(), tau)

    def density(logit: float) -> float:  # over z = sigmoid(u), dz = z (1 − z) du
        share, rest = 1 / (1 + math.exp(-logit)), 1 / (1 + math.exp(logit))
        return float(pair.log_prob(torch.tensor([share, rest]).double()).exp()) * share * rest

    assert scipy.integrate.quad(density, -60, 60, limit=200)[0] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.1, 2.0])
def test_the_largest_of_a_relaxed_draw_has_the_probabilities_of_the_categories(temperature):
    logits = logits_of()
    z = RelaxedOneHotGroups(logits, torch.tensor(temperature).double()).sample((20_000,)).unflatten(-1, (2, 3))
    shares = torch.nn.functional.one_hot(z.argmax(-1), 3).double().mean(0)
    expected = logits.softmax(-1)
    assert ((shares - expected).abs() < 5 * (expected * (1 - expected) / 20_000).sqrt()).all()


def test_relaxed_draws_and_densities_are_finite_in_float32():
    for scale in (1.0, 100.0, 1e4):
        logits = (scale * torch.randn(200, 2, 3)).requires_grad_()
        q = RelaxedOneHotGroups(logits, torch.tensor(0.1))
        z = q.rsample((20,))
        (gradient,) = torch.autograd.grad((z.sum() + q.log_prob(z).sum()), logits)
        assert z.isfinite().all()
        assert q.log_prob(z).isfinite().all()
        assert gradient.isfinite().all()


def test_one_hot_draws_have_no_gradient():
    q = OneHotGroups(logits_of())
    with pytest.raises(ConfigError, match=r"^draws of one-hot z have no gradient: use model\.posterior\.temperature"):
        q.rsample()
    with torch.no_grad():
        assert q.rsample((4,)).shape == (4, 2, 6)

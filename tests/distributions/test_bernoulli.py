"""Bernoulli and continuous Bernoulli distributions."""

import math

import pytest
import torch

from aevb.distributions.bernoulli import BernoulliDistribution, ContinuousBernoulliDistribution


def test_torchs_continuous_bernoulli_is_met_where_it_is_right() -> None:
    logits = torch.cat([-torch.logspace(-3, 1, 30), torch.logspace(-3, 1, 30)]).double().view(-1, 1, 1, 1)
    mine = ContinuousBernoulliDistribution(logits=logits, validate_args=False)
    torchs = torch.distributions.ContinuousBernoulli(logits=logits)
    x = torch.rand(50, 1, 1, 1, 1, dtype=torch.float64)
    torch.testing.assert_close(mine.log_prob(x), torchs.log_prob(x), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(mine.mean, torchs.mean, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("logit", [0.0, 1e-8, 1e-3, 0.199, 0.2, 0.201, 5.0, 15.0, 17.0, 100.0, 1e4])
@pytest.mark.parametrize("sign", [-1, 1])
def test_continuous_bernoulli_is_normalized_for_every_logit(logit: float, sign: int) -> None:
    """In float32. The integral is taken over the 40/logit next to the end where the mass is."""
    width, steps = min(1.0, 40 / max(logit, 1e-9)), 20_000
    distance = (torch.arange(steps) + 0.5) / steps * width
    x = distance if sign < 0 else 1 - distance
    distribution = ContinuousBernoulliDistribution(logits=torch.tensor(sign * logit), validate_args=False)
    assert float(distribution.log_prob(x).double().exp().sum()) * width / steps == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("logit", [0.0, 1e-5, 1e-3, -0.7, 4.0, -30.0])
def test_quantiles_of_the_continuous_bernoulli_invert_its_distribution_function(logit: float) -> None:
    u = torch.linspace(0, 1, 101, dtype=torch.float64)
    x = ContinuousBernoulliDistribution(logits=torch.tensor(logit, dtype=torch.float64), validate_args=False).icdf(u)
    expected = torch.expm1(logit * x) / math.expm1(logit) if logit else x
    torch.testing.assert_close(expected, u, rtol=0, atol=2e-5)


def test_bernoulli_log_probability_and_its_derivatives() -> None:
    logits = torch.tensor([-200.0, -30.0, -3.0, 0.0, 0.4, 17.0, 200.0])
    for x in (0.0, 0.3, 1.0):
        mine = BernoulliDistribution(logits=logits, validate_args=False).log_prob(torch.tensor(x))
        exact = x * logits.double() - torch.nn.functional.softplus(logits.double(), threshold=1000)
        torch.testing.assert_close(mine.double(), exact, rtol=2e-7, atol=2e-7)

    def log_prob(logits: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return BernoulliDistribution(logits=logits, validate_args=False).log_prob(x)

    logits = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)
    x = torch.rand(2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(log_prob, (logits, x))
    assert torch.autograd.gradgradcheck(log_prob, (logits, x))
    each = torch.func.vmap(torch.func.grad(lambda logits: log_prob(logits, x).sum()))(logits)
    torch.testing.assert_close(each, (x - logits.sigmoid()).detach())

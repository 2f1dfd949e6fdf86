"""The density of every head: against scipy, its integral, its mean and its draws."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution

SEEDS = range(3)


@pytest.fixture(params=SEEDS)
def raw(request: pytest.FixtureRequest, case: Any) -> Tensor:
    """Moderate random raw outputs for one value of x."""
    generator = torch.Generator().manual_seed(request.param)
    low, high = case.raw
    return low + (high - low) * torch.rand(case.head().parameters_per_value, generator=generator, dtype=torch.float64)


@pytest.fixture
def distribution(case: Any, raw: Tensor, with_output: Any) -> Distribution:
    """p(x|z) of one value: batch (1, 1), event (1, 1, 1)."""
    return with_output(case.head(), raw)(torch.zeros(1, 1, 3, dtype=torch.float64))


def log_prob(distribution: Distribution, x: np.ndarray) -> np.ndarray:
    """Of many values x (N,), one datapoint each."""
    return distribution.log_prob(torch.from_numpy(x).view(-1, 1, 1, 1)).detach().numpy().reshape(-1)


def nodes(low: float, high: float, center: float) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights over pieces that shrink towards the centre and the ends of the support."""
    steps = 10.0 ** np.arange(-9, 9)
    ends = np.array([center, 0, 1, *(end for end in (low, high) if np.isfinite(end))])
    breaks = np.unique(np.concatenate([ends] + [end + sign * steps for end in ends for sign in (-1, 1)]))
    breaks = breaks[(breaks >= low) & (breaks <= high)]
    x, w = np.polynomial.legendre.leggauss(40)
    half, middle = np.diff(breaks) / 2, (breaks[1:] + breaks[:-1]) / 2
    return (middle[:, None] + half[:, None] * x).ravel(), (half[:, None] * w).ravel()


def quadrature(case: Any, distribution: Distribution) -> tuple[np.ndarray, np.ndarray]:
    """Values x, and their probabilities or the weights of an integral times the density."""
    if isinstance(case.values, np.ndarray):
        return case.values, np.exp(log_prob(distribution, case.values))
    x, weights = nodes(*case.values, center=float(distribution.mean.detach()))
    return x, weights * np.exp(log_prob(distribution, x))


def test_log_prob_is_that_of_scipy(case: Any, raw: Tensor, distribution: Distribution) -> None:
    x = case.data(200).double().numpy()
    np.testing.assert_allclose(log_prob(distribution, x), case.logpdf(x, *raw.tolist()), rtol=1e-6, atol=1e-7)


def test_density_integrates_to_one(case: Any, distribution: Distribution) -> None:
    _, mass = quadrature(case, distribution)
    assert mass.sum() == pytest.approx(1, abs=1e-6)


def test_mean_is_that_of_the_density(case: Any, distribution: Distribution) -> None:
    x, mass = quadrature(case, distribution)
    # A Student-t's tail has a mean of which 10⁻⁶ lies beyond the last node.
    assert float(distribution.mean.detach()) == pytest.approx((x * mass).sum(), abs=1e-5)


def test_draws_follow_the_density(case: Any, distribution: Distribution) -> None:
    """Their mean, and the shares below three quantiles, lie within 5 standard errors: one failure in 10⁶."""
    torch.manual_seed(0)
    n = 20_000
    draws = distribution.sample(torch.Size((n,))).detach().numpy().reshape(-1)
    x, mass = quadrature(case, distribution)
    assert abs(draws.mean() - (x * mass).sum()) < 5 * draws.std() / np.sqrt(n) + 1e-6
    for quantile in (0.02, 0.5, 0.98):
        last = min(int(np.searchsorted(mass.cumsum(), quantile)), len(x) - 2)
        cut, below = (x[last] + x[last + 1]) / 2, mass[: last + 1].sum()
        assert abs((draws <= cut).mean() - below) < 5 * np.sqrt(below * max(1 - below, 0) / n) + 1e-3


def test_draws_lie_in_the_support(case: Any, distribution: Distribution) -> None:
    torch.manual_seed(0)
    draws = distribution.sample(torch.Size((1000,)))
    assert bool(distribution.base_dist.support.check(draws).all())  # type: ignore[attr-defined]

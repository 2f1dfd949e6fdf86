"""Every likelihood head, with data that suit it and, where there is one, another implementation of its density."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from scipy.special import expit, log_expit, log_softmax
from torch import Tensor

from aevb import likelihoods

LEVELS = np.arange(256) / 255


def scale_of(raw: float, floor: float = 1e-3) -> float:
    return float(np.exp(raw) + floor)


def deviation_of(raw: float, floor: float = 1e-3) -> float:
    return float(np.sqrt(np.exp(raw) + floor**2))


def stretched_beta(x: np.ndarray, a: float, b: float) -> np.ndarray:
    alpha, beta = np.exp(a) + 0.01, np.exp(b) + 0.01
    return scipy.stats.beta(alpha, beta, loc=-1 / 510, scale=1 + 1 / 255).logpdf(x)


def gaussian_uniform(x: np.ndarray, m: float, s: float) -> np.ndarray:
    gaussian = scipy.stats.norm(expit(m), deviation_of(s)).pdf(x)
    return np.log(0.05 * scipy.stats.uniform.pdf(x) + 0.95 * gaussian)


def discretized(x: np.ndarray, m: float, s: float) -> np.ndarray:
    family = scipy.stats.logistic(m, np.exp(s) + 5e-4)
    edges = np.concatenate([[-np.inf], LEVELS[:-1] + 0.5 / 255, [np.inf]])
    k = np.round(x * 255).astype(int)
    low, high = edges[k], edges[k + 1]
    # Each tail by the function that is small there, so that the difference keeps its digits.
    return np.log(np.where(low > m, family.sf(low) - family.sf(high), family.cdf(high) - family.cdf(low)))


def mixture(x: np.ndarray, *raw: float) -> np.ndarray:
    weights = np.exp(log_softmax(raw[:2]))
    return np.log(sum(w * np.exp(discretized(x, m, s)) for w, m, s in zip(weights, raw[2:4], raw[4:], strict=True)))


def negative_binomial(x: np.ndarray, m: float) -> np.ndarray:
    return scipy.stats.nbinom(10, 10 / (10 + np.exp(m) + 1e-6)).logpmf(x)


@dataclass(frozen=True)
class Case:
    """A head and what is known of it.

    Attributes:
        name: Of the class.
        values: The values x may take where they are finitely many or can be cut off, else an interval (low, high).
        logpdf: (x, *raw) → log-density in nats, by numpy and scipy, from the raw outputs of the network for one value.
        raw: Range of moderate raw outputs.
        settings: Arguments of the class.
    """

    name: str
    values: np.ndarray | tuple[float, float]
    logpdf: Callable[..., np.ndarray]
    raw: tuple[float, float] = (-2.0, 2.0)
    settings: dict[str, Any] = field(default_factory=dict)

    def head(self, in_shape: tuple[int, ...] = (3,), data_shape: tuple[int, ...] = (1, 1, 1), **more: Any) -> Any:
        """In evaluation mode."""
        return getattr(likelihoods, self.name)(in_shape, data_shape, **self.settings | more).eval()

    def data(self, *shape: int, seed: int = 0) -> Tensor:
        """Random values of the support, its ends included where it has any."""
        rng = np.random.default_rng(seed)
        if isinstance(self.values, np.ndarray):
            x = rng.choice(self.values[:100] if self.values[1] == 1 else self.values, shape)
        else:
            x = rng.uniform(max(self.values[0], 0), min(self.values[1], 1), shape)
        flat = x.reshape(-1)
        flat[0] = 0
        flat[1] = 3 if isinstance(self.values, np.ndarray) and len(self.values) > 256 else 1
        return torch.from_numpy(x).float()


REALS = (-np.inf, np.inf)
COUNTS = np.arange(4000.0)
SQUASHED = {"bounded": True}
CASES = [
    Case("Bernoulli", np.array([0.0, 1.0]), lambda x, f: x * log_expit(f) + (1 - x) * log_expit(-f)),
    Case("ContinuousBernoulli", (0, 1), lambda x, f: f * x - np.log(np.expm1(f) / f)),
    Case("Gaussian", REALS, lambda x, m, s: scipy.stats.norm(expit(m), deviation_of(s)).logpdf(x), settings=SQUASHED),
    Case(
        "GaussianPerValue",
        REALS,
        lambda x, m: scipy.stats.norm(expit(m), np.hypot(0.3, 1e-3)).logpdf(x),
        settings=SQUASHED,
    ),
    Case(
        "ScalarGaussian",
        REALS,
        lambda x, m: scipy.stats.norm(expit(m), np.hypot(0.3, 1e-3)).logpdf(x),
        settings=SQUASHED,
    ),
    Case("FixedGaussian", REALS, lambda x, m: scipy.stats.norm(expit(m), 0.1).logpdf(x), settings=SQUASHED),
    Case("OptimalGaussian", REALS, lambda x, m: scipy.stats.norm(expit(m), 1).logpdf(x), settings=SQUASHED),
    Case("GaussianUniformMixture", REALS, gaussian_uniform),
    Case("Laplace", REALS, lambda x, m, s: scipy.stats.laplace(expit(m), scale_of(s)).logpdf(x), settings=SQUASHED),
    Case("Logistic", REALS, lambda x, m, s: scipy.stats.logistic(expit(m), scale_of(s)).logpdf(x), settings=SQUASHED),
    Case("StudentT", REALS, lambda x, m, s: scipy.stats.t(3, expit(m), scale_of(s)).logpdf(x), settings=SQUASHED),
    Case("Beta", (-1 / 510, 1 + 1 / 510), stretched_beta, raw=(-0.2, 3)),
    Case("DiscretizedLogistic", LEVELS, discretized, raw=(-3, 1)),
    Case("DiscretizedLogisticMixture", LEVELS, mixture, raw=(-3, 1), settings={"num_components": 2}),
    Case("Categorical", LEVELS, lambda x, *f: log_softmax(f)[np.round(x * 255).astype(int)]),
    Case("Poisson", COUNTS, lambda x, f: scipy.stats.poisson(np.exp(f) + 1e-6).logpmf(x)),
    Case("NegativeBinomial", COUNTS, negative_binomial),
]


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    chosen: Case = request.param
    return chosen


@pytest.fixture
def with_output() -> Callable[[torch.nn.Module, Tensor], torch.nn.Module]:
    """Makes a head whose network's output is the given raw parameters, whatever the features."""

    def set_output(head: Any, raw: Tensor) -> Any:
        head.to(raw.dtype)
        with torch.no_grad():
            head.layer.weight.zero_()
            head.layer.bias.copy_(raw)
        return head

    return set_output

"""Regression: inputs are the condition c, targets are x."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aevb.data.module import InMemoryDataModule, Split, Splits, split_at_random
from aevb.types import Positive

_SIMULATION = 11  # apart from other draws by the same seed


class Bimodal(InMemoryDataModule):
    """A simulated regression whose noise has two modes and is no Gaussian: the true density is known.

        c ~ U(−1, 1),   p(x|c) = ½ N(x; m(c), σ²) + ½ N(x; −m(c), σ²),   m(c) = ½ + ½ sin(πc)

    The two branches meet at c = −½, where m = 0. A Gaussian regression can only give the mean 0 and a wide noise.
    10,000 datapoints to train on, 2,000 each for validation and test, drawn by `split_seed`.

    Args:
        sigma: σ, of each branch.
        kwargs: See `InMemoryDataModule`.
    """

    def __init__(self, sigma: Positive = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sigma = sigma

    def load(self) -> Splits:
        """Simulate the data."""
        draws = np.random.default_rng([self.split_seed, _SIMULATION])
        c = torch.from_numpy(draws.uniform(-1, 1, (14_000, 1)))
        sign, noise = draws.choice([-1, 1], c.shape), draws.standard_normal(c.shape)
        x = torch.from_numpy(sign) * branch(c) + self.sigma * torch.from_numpy(noise)
        all_data = Split(x.float().view(-1, 1, 1, 1), c=c.float())
        return Splits(*(all_data.take(slice(*ends)) for ends in ((10_000,), (10_000, 12_000), (12_000, 14_000))))

    def log_density(self, x: Tensor, c: Tensor) -> Tensor:
        """The true log p(x|c) in nats: x (N, 1, 1, 1), c (N, 1) → (N,)."""
        x, mean = x.flatten(), branch(c.flatten())
        modes = torch.stack([x - mean, x + mean]) / self.sigma
        return (-0.5 * modes.square()).logsumexp(0) - math.log(2 * self.sigma * math.sqrt(2 * math.pi))


def branch(c: Tensor) -> Tensor:
    """m(c)."""
    return 0.5 + 0.5 * torch.sin(math.pi * c)


class Diabetes(InMemoryDataModule):
    """442 patients: the progression of diabetes in a year, x, given ten measurements, c.

    x and c are standardized by the training set's means and standard deviations. 342 to train on, 50 each for
    validation and test, by `split_seed`.

    Source: Efron, Hastie, Johnstone & Tibshirani (2004), Least angle regression; scikit-learn has it as
    `load_diabetes`.
    """

    def load(self) -> Splits:
        """Read the data from the installed scikit-learn."""
        from sklearn.datasets import load_diabetes  # takes a second, which other data sets need not wait for

        c, x = (torch.from_numpy(values).float() for values in load_diabetes(return_X_y=True, scaled=False))
        splits = split_at_random(Split(x.view(-1, 1, 1, 1), c=c), 50, 50, self.split_seed)
        x_std, x_mean = torch.std_mean(splits.train.x, 0)
        c_std, c_mean = torch.std_mean(torch.as_tensor(splits.train.c), 0)
        return Splits(*(Split((x - x_mean) / x_std, None, (torch.as_tensor(c) - c_mean) / c_std) for x, _, c in splits))

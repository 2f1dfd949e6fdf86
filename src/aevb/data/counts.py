"""Simulated photon counts of a moving spot of light."""

import math
from typing import Any

import numpy as np
import torch

from aevb.data.module import InMemoryDataModule, Split, Splits
from aevb.types import Positive

_SIMULATION = 10  # distinguishes these draws from others with the same seed


class Counts(InMemoryDataModule):
    """Counts from a known nonlinear model of three factors, without a download.

    A spot of light is in front of a detector of 12×12 cells. Each datapoint has three factors: the spot's row r and
    column c, uniform on [2, 9], and its brightness b, log-normal (log 8, 0.5). The expected count of cell (i, j) is

        λ_ij = 0.2 + b exp(−((i − r)² + (j − c)²) / (2 · 1.5²)),

    and x_ij ~ Poisson(λ_ij) or, with `dispersion`, negative binomial with mean λ_ij and variance
    λ_ij + λ_ij² / dispersion. The counts are whole numbers in float32, not scaled. There are 5000 datapoints for
    training, 1000 each for validation and test, all drawn with `split_seed`, and no labels.

    Args:
        dispersion: Dispersion of the negative binomial; None: Poisson.
        kwargs: See `InMemoryDataModule`.
    """

    def __init__(self, dispersion: Positive | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dispersion = dispersion

    def load(self) -> Splits:
        """Simulate the counts."""
        draws = np.random.default_rng([self.split_seed, _SIMULATION])
        rate = rates(factors(7000, draws))
        r = self.dispersion
        counts = draws.poisson(rate) if r is None else draws.negative_binomial(r, r / (r + rate))
        x = torch.from_numpy(counts.astype(np.float32))
        return Splits(*(Split(part) for part in x.split([5000, 1000, 1000])))


def factors(n: int, draws: np.random.Generator) -> np.ndarray:
    """Row, column and brightness of n spots, (n, 3)."""
    return np.column_stack([draws.uniform(2, 9, (n, 2)), draws.lognormal(math.log(8), 0.5, n)])


def rates(factors: np.ndarray) -> np.ndarray:
    """λ, the expected counts (n, 1, 12, 12), for factors (n, 3)."""
    row, column, brightness = factors.T[:, :, None, None, None]
    cells = np.arange(12)
    squared_distance = (cells[:, None] - row) ** 2 + (cells - column) ** 2
    rate: np.ndarray = 0.2 + brightness * np.exp(-squared_distance / (2 * 1.5**2))
    return rate

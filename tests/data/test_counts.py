"""The simulated counts follow the model they are documented to follow."""

import numpy as np
import pytest
import torch
from scipy import integrate

from aevb.data import Counts
from aevb.data.counts import factors, rates


def expected_total() -> float:
    """E[Σ_ij λ_ij] by integrating over the spot's place; the log-normal's mean is 8 exp(½ · 0.5²)."""
    one_axis = integrate.quad(lambda c: np.exp(-((np.arange(12) - c) ** 2) / 4.5).sum() / 7, 2, 9)[0]
    return 0.2 * 144 + 8 * np.exp(0.125) * one_axis**2


def test_counts_are_whole_numbers_of_the_right_shape():
    splits = Counts(shape=[1, 12, 12]).splits
    assert [tuple(split.x.shape) for split in splits] == [(n, 1, 12, 12) for n in (5000, 1000, 1000)]
    x = torch.cat([split.x for split in splits])
    assert x.dtype == torch.float32
    assert bool(((x % 1 == 0) & (x >= 0)).all())
    assert splits.train.y is None


@pytest.mark.parametrize("dispersion", [None, 4.0])
def test_totals_have_the_mean_of_the_model(dispersion):
    totals = torch.cat([split.x for split in Counts(dispersion=dispersion).splits]).sum((1, 2, 3))
    standard_error = float(totals.std()) / np.sqrt(len(totals))
    assert abs(float(totals.mean()) - expected_total()) < 5 * standard_error


@pytest.mark.parametrize("dispersion", [None, 4.0])
def test_scatter_about_the_rate(dispersion):
    """(x − λ)² is λ for Poisson and λ + λ²/r for the negative binomial, on average over 10⁶ cells."""
    dm = Counts(dispersion=dispersion)
    x = torch.cat([split.x for split in dm.splits]).double().numpy()
    rate = rates(factors(7000, np.random.default_rng([0, 10])))
    ratio = (x - rate) ** 2 / (rate + (0 if dispersion is None else rate**2 / dispersion))
    assert abs(ratio.mean() - 1) < 5 * ratio.std() / np.sqrt(ratio.size)


def test_the_seed_of_the_split_decides():
    assert torch.equal(Counts().splits.val.x, Counts(seed=3).splits.val.x)
    assert not torch.equal(Counts().splits.val.x, Counts(split_seed=1).splits.val.x)


@pytest.mark.parametrize("dispersion", [0, -1.0, float("inf"), True, "many"])
def test_bad_dispersion_is_refused(dispersion):
    with pytest.raises(ValueError, match=r"^dispersion must be a positive number or null, got "):
        Counts(dispersion=dispersion)


def test_counts_cannot_be_binarized():
    with pytest.raises(ValueError, match=r"needs values in \[0, 1\]"):
        Counts(binarization="static").setup()

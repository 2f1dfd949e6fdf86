"""Regression data: inputs as conditions."""

import torch

from aevb.data import Bimodal, Diabetes
from aevb.data.regression import branch


def test_the_true_density_is_one_and_that_of_the_data():
    data = Bimodal(sigma=0.2)
    grid = torch.linspace(-3, 3, 3001, dtype=torch.float64)
    for c in (-1.0, -0.5, 0.3, 0.9):
        density = data.log_density(grid, torch.full_like(grid, c)).exp()
        torch.testing.assert_close(torch.trapezoid(density, grid), torch.ones((), dtype=torch.float64))
    x, _, c = data.splits.train
    assert x.shape == (10_000, 1, 1, 1)
    assert c.shape == (10_000, 1)
    residual = (x.flatten().abs() - branch(c.flatten()))[c.flatten() > 0]  # where the branches are apart
    assert abs(float(residual.mean())) < 0.01
    assert abs(float(residual.std()) - 0.2) < 0.01
    assert abs(float((x > 0).float().mean()) - 0.5) < 0.02


def test_data_of_scikit_learn_are_standardized():
    data = Diabetes(batch_size=50)
    x, _, c = data.splits.train
    assert [len(split.x) for split in data.splits] == [342, 50, 50]
    assert c.shape == (342, 10)
    for values in (x.flatten(1), c):
        torch.testing.assert_close(values.mean(0), torch.zeros(values.shape[1]), atol=1e-4, rtol=0)
        torch.testing.assert_close(values.std(0), torch.ones(values.shape[1]))

"""Sprites: images drawn from known factors."""

import math

import numpy as np
import pytest
import torch

from aevb.data import Sprites

SMALL = {"side": 16, "scales": 2, "orientations": 4, "positions": 3, "batch_size": 10}


def every(data: Sprites) -> tuple[torch.Tensor, torch.Tensor]:
    """All images and factors, in the order of the factors."""
    x, y = (torch.cat([getattr(split, part) for split in data.splits]) for part in ("x", "y"))
    order = torch.from_numpy(np.lexsort(y.numpy().T[::-1]))
    return x[order], y[order]


def test_each_combination_of_factors_comes_once_in_disjoint_splits() -> None:
    data = Sprites(**SMALL)
    assert data.factor_sizes == (3, 2, 4, 3, 3)
    assert [len(split.x) for split in data.splits] == [174, 21, 21]
    x, y = every(data)
    assert x.shape == (216, 1, 16, 16)
    assert x.dtype == torch.bool
    assert torch.equal(y, torch.cartesian_prod(*map(torch.arange, data.factor_sizes)))
    assert torch.equal(data.splits.train.classes, data.splits.train.y[:, 0])


def test_the_images_depend_on_the_factors_alone() -> None:
    first, again, other = (every(Sprites(**SMALL, split_seed=seed, seed=seed))[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert torch.equal(first, other)


def test_areas_and_centres_are_those_of_the_shapes() -> None:
    """At a side of 128 the pixels within a shape are its area, in which scales and orientations are exact ratios."""
    data = Sprites(side=128, scales=2, orientations=8, positions=2, batch_size=10)
    x, y = every(data)
    radius = 0.2 * 128 * (0.5 + 0.5 * y[:, 1])
    area = x.flatten(1).sum(1) / radius**2
    for shape, exact in ((0, 2.0), (1, math.pi / 2)):
        assert float((area[y[:, 0] == shape] / exact - 1).abs().max()) < 0.05
    assert area[y[:, 0] == 2].std() < 0.05
    pixels = torch.arange(128) + 0.5
    symmetric = y[:, 0] < 2
    for axis, factor in ((1, 3), (2, 4)):
        centre = (x[:, 0].sum(axis) * pixels).sum(1) / x.flatten(1).sum(1)
        expected = 128 * (0.2 + 0.6 * y[:, factor])
        assert float((centre - expected)[symmetric].abs().max()) < 0.5


def test_orientations_turn_the_shape() -> None:
    data = Sprites(side=64, scales=1, orientations=4, positions=1, batch_size=5)
    x, y = every(data)
    for shape in range(3):
        turns = x[y[:, 0] == shape, 0]
        for quarter in range(4):
            assert torch.equal(turns[quarter], torch.rot90(turns[0], quarter))
    square, heart = (x[y[:, 0] == shape, 0] for shape in (0, 2))
    assert all(torch.equal(turned, square[0]) for turned in square)
    assert not torch.equal(heart[0], heart[2])


def test_labels_as_conditions_are_the_shapes() -> None:
    data = Sprites(**SMALL, condition="labels")
    assert data.condition_shape == (3,)
    assert torch.equal(data.splits.test.c.argmax(1), data.splits.test.y[:, 0])


def test_a_batch_brings_the_factors() -> None:
    x, y = next(iter(Sprites(**SMALL, block_size=2).train_dataloader()))
    assert x.shape == (2, 10, 1, 16, 16)
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert y.shape == (2, 10, 5)


@pytest.mark.parametrize("setting", ["scales", "positions"])
def test_bad_settings_are_named(setting: str) -> None:
    with pytest.raises(ValueError, match=rf"^{setting} must be .*got 0"):
        Sprites(**{setting: 0})

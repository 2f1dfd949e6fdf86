"""Evenly spaced levels."""

import pytest
import torch

from aevb.distributions.levels import Levels


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_levels_are_recognised_in_float32(levels: int) -> None:
    support = Levels(levels)
    exact = torch.arange(levels, dtype=torch.float64) / (levels - 1)
    assert bool(support.check(exact.float()).all())
    assert bool(support.check(torch.arange(levels).float() * (1 / (levels - 1))).all())
    assert not bool(support.check(exact[1:] - 0.01 / (levels - 1)).any())
    assert not bool(support.check(torch.tensor([-1.0, levels]) / (levels - 1)).any())

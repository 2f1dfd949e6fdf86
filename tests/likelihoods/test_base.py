"""What the likelihoods share."""

import math

import torch

from aevb.likelihoods.base import positive


def test_positive_is_the_softplus_floor_of_the_logarithm() -> None:
    raw = torch.linspace(-30, 10, 81, dtype=torch.float64)
    floor = 1e-3
    expected = math.log(floor) + torch.nn.functional.softplus(raw - math.log(floor), threshold=100)
    torch.testing.assert_close(positive(raw, floor).log(), expected)

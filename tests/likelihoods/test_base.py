"""What the likelihoods share."""

import math

import pytest
import torch
from torch.distributions import Distribution, Normal, constraints

from aevb.likelihoods import Likelihood
from aevb.likelihoods.base import positive


def test_positive_is_the_softplus_floor_of_the_logarithm() -> None:
    raw = torch.linspace(-30, 10, 81, dtype=torch.float64)
    floor = 1e-3
    expected = math.log(floor) + torch.nn.functional.softplus(raw - math.log(floor), threshold=100)
    torch.testing.assert_close(positive(raw, floor).log(), expected)


class Mine(Likelihood):
    def __init__(self, part: slice | int = slice(None)) -> None:
        super().__init__((3,), (1, 4, 4), parameters_per_value=1)
        self.part = part

    def distribution(self, raw: torch.Tensor) -> Distribution:
        return Normal(raw[..., self.part], 1.0)


def test_a_head_without_a_support_gets_one_line() -> None:
    x = torch.zeros(2, 1, 4, 4)
    with pytest.raises(ValueError, match=r"^likelihood Mine must say which values of x it scores: support = "):
        Mine().check(x)
    head = Mine()
    head.support = constraints.real
    head.check(x)


def test_a_distribution_of_another_shape_gets_one_line() -> None:
    """Its log_prob would broadcast against x."""
    h = torch.zeros(1, 2, 3)
    assert Mine()(h).log_prob(torch.zeros(2, 1, 4, 4)).shape == (1, 2)
    with pytest.raises(ValueError, match=r"^likelihood Mine must give .*, \(1, 4, 4\), after .* are \(2, 1, 4\)$"):
        Mine(part=0)(h)

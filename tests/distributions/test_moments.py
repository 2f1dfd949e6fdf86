import pytest
import torch
from torch.distributions import Distribution, Normal

from aevb.distributions.moments import closed_moment


class OnlyMean(Normal):
    @property
    def variance(self):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("distribution", "mean", "variance"),
    [(Normal(1.0, 2.0), 1.0, 4.0), (OnlyMean(1.0, 2.0), 1.0, None), (Distribution(validate_args=False), None, None)],
)
def test_moments_are_torch_s_or_none(distribution, mean, variance):
    found = closed_moment(distribution, "mean"), closed_moment(distribution, "variance")
    assert found == tuple(None if value is None else torch.tensor(value) for value in (mean, variance))

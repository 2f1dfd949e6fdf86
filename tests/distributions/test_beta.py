"""The stretched beta distribution."""

import pytest

from aevb.distributions.beta import StretchedBetaDistribution


def test_beta_bins_of_256_grey_levels_cover_everything() -> None:
    """The density is on [−1/510, 1 + 1/510]: each grey level is the middle of a bin of width 1/255."""
    support = StretchedBetaDistribution.support
    assert support.upper_bound - support.lower_bound == pytest.approx(256 / 255)

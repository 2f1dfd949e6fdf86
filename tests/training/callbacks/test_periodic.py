"""When callbacks act, and how fast training is in between."""

import pytest

from aevb.training.callbacks.periodic import Every


@pytest.mark.parametrize(
    ("samples", "acted"),
    [(100, [100, 200, 330]), (50, [60, 100, 160, 200, 330]), (1, [60, 100, 160, 200, 330]), (500, [])],
)
def test_every_is_due_once_a_multiple_is_passed(samples, acted):
    every, found = Every(samples), []
    for seen in (60, 100, 160, 200, 330):
        if every.due(seen):
            found.append(seen)
            every.last = seen
    assert found == acted


def test_bad_number_of_samples_is_named():
    with pytest.raises(ValueError, match=r"^samples must be"):
        Every(0)

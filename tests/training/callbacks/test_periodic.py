"""When callbacks act, and how fast training is in between."""

from types import SimpleNamespace

import pytest

from aevb.training import clock
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


def test_clock_does_not_count_pauses(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    watch = clock.Clock()
    for seconds, act in ((5, watch.start), (2, watch.stop), (7, watch.stop), (1, watch.start), (3, watch.start)):
        now[0] += seconds
        act()
    assert watch.seconds == 2 + 3

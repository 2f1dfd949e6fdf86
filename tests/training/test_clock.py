"""The stopwatch of training."""

from types import SimpleNamespace

from aevb.training import clock


def test_clock_does_not_count_pauses(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    watch = clock.Clock()
    for seconds, act in ((5, watch.start), (2, watch.stop), (7, watch.stop), (1, watch.start), (3, watch.start)):
        now[0] += seconds
        act()
    assert watch.seconds == 2 + 3

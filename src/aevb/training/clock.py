"""A stopwatch of the time spent in training."""

import time


class Clock:
    """A stopwatch."""

    def __init__(self) -> None:
        self.total = 0.0
        self.started: float | None = None

    def start(self) -> None:
        """Start or resume."""
        if self.started is None:
            self.started = time.perf_counter()

    def stop(self) -> None:
        """Pause."""
        self.total, self.started = self.seconds, None

    @property
    def seconds(self) -> float:
        """Total running time in seconds."""
        return self.total + (0.0 if self.started is None else time.perf_counter() - self.started)

"""A lock on a folder, for processes on one machine or on several that share a file system."""

from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from aevb.errors import LockedError

PATIENCE_SECONDS = 0.5
"""`is_locked` holds a free lock for an instant, so `Lock` waits this long for it."""


class Lock:
    """`with Lock(folder):` locks `<folder>/.lock`, by a lock of the system, which frees it when the process ends.

    Args:
        folder: Created where it is missing.

    Raises:
        LockedError: on entering, where another process holds the lock.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / ".lock"
        self.lock = FileLock(self.path)

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.lock.acquire(timeout=PATIENCE_SECONDS, poll_interval=0.02)
        except Timeout:
            raise LockedError(f"another process uses {self.path.parent}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.path.unlink(missing_ok=True)  # while it is held, so that a process that has opened it sees that it is gone
        self.lock.release()


def is_locked(folder: str | Path) -> bool:
    """Whether a process holds the lock of a folder."""
    path = Path(folder) / ".lock"
    if not path.is_file():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # read-only, so that no process can hold it
        return False

"""A lock on a folder, for processes on one machine or on several that share a file system."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from aevb.errors import LockedError

PATIENCE_SECONDS = 0.5
"""`is_locked` holds a free lock for an instant, so `locked` waits this long for it."""


@contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Hold a lock of the system on `<folder>/.lock`, which also ends with the process; a missing folder is created.

    Raises:
        LockedError: another process holds it.
    """
    path = Path(folder) / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=PATIENCE_SECONDS, poll_interval=0.02)
    except Timeout:
        raise LockedError(f"another process uses {path.parent}") from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held, so that a process that has opened it sees that it is gone
        lock.release()


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

"""A folder in which one process works at a time, on one machine or on many that share a file system."""

from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from aevb.errors import LockedError

PATIENCE_SECONDS = 0.5
"""`is_locked` holds a free lock for an instant; who wants it in earnest waits so long."""


class Lock:
    """`with Lock(folder):` marks the folder as this process's, by the file system's own lock on `<folder>/.lock`.

    The system frees the lock when its process ends, however it ends.

    Args:
        folder: Made where it is missing.

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
            raise LockedError(f"another process is at work in {self.path.parent}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.path.unlink(missing_ok=True)  # while it is held: whoever opened the file meanwhile sees that it is gone
        self.lock.release()


def is_locked(folder: str | Path) -> bool:
    """Whether a living process holds the lock of a folder."""
    path = Path(folder) / ".lock"
    if not path.is_file():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # read-only, so that nobody works there
        return False

"""A folder in which one process works at a time, on one machine or on many that share a file system."""

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aevb.errors import LockedError

RENEW_SECONDS = 10.0
STALE_SECONDS = 60.0
"""A process on another machine that has not renewed its lock for so long is taken for dead."""


class Lock:
    """`with Lock(folder):` says in `<folder>/.lock` that this process works in the folder.

    The file names its holder; while the lock is held, a thread renews the file's time. The lock of a dead process is
    taken over: on the same machine a process is dead when it is gone, on another when it has not renewed the file for
    `STALE_SECONDS`. To read, judge and write the file is one step, under the file system's own lock, so that of two
    processes that find a dead one's lock only one takes it over.

    Args:
        folder: Made where it is missing.

    Raises:
        LockedError: on entering, where a living process holds the lock.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / ".lock"
        self.holder = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process": process_start(os.getpid()),
            "machine": machine(),
            "token": uuid.uuid4().hex,
        }
        self.released = threading.Event()
        self.heartbeat = threading.Thread(target=self.renew, daemon=True)

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(self.path) as file:
            if is_alive(holder := parse(read(file)), os.fstat(file).st_mtime):
                raise LockedError(f"process {holder['pid']} on {holder['host']} is at work in {self.path.parent}")
            os.ftruncate(file, 0)
            os.pwrite(file, json.dumps(self.holder).encode(), 0)
        self.heartbeat.start()
        return self

    def renew(self) -> None:
        """Renew the file's time until the lock is released."""
        while not self.released.wait(RENEW_SECONDS):
            with suppress(OSError):
                os.utime(self.path)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.released.set()
        self.heartbeat.join()
        with suppress(OSError), exclusive(self.path) as file:
            if parse(read(file)).get("token") == self.holder["token"]:
                self.path.unlink()


def is_locked(folder: str | Path) -> bool:
    """Whether a living process holds the lock of a folder."""
    path = Path(folder) / ".lock"
    try:
        return is_alive(parse(path.read_bytes()), path.stat().st_mtime)
    except OSError:
        return False


@contextmanager
def exclusive(path: Path) -> Iterator[int]:
    """A descriptor of the file at `path`, made where it is missing, which no other process has in this way."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            with suppress(OSError):  # a file system without locks: two that start at the very same moment may collide
                fcntl.flock(file, fcntl.LOCK_EX)
            if not is_same_file(file, path):
                continue  # its holder removed it while this process waited
            yield file
            return
        finally:
            os.close(file)


def is_same_file(file: int, path: Path) -> bool:
    """Whether an open file is the one that `path` names now."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def read(file: int) -> bytes:
    """The first bytes of an open file, as many as a lock has."""
    return os.pread(file, 4096, 0)


def parse(text: bytes) -> dict[str, Any]:
    """Who holds a lock; empty for a file that is not written yet."""
    try:
        holder = json.loads(text)
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def is_alive(holder: dict[str, Any], renewed: float) -> bool:
    """Whether the holder of a lock still works.

    Args:
        holder: What the lock says.
        renewed: When it was last renewed, in seconds since the epoch.
    """
    if not holder:
        return False
    if holder["machine"] == machine():
        return process_start(holder["pid"]) == holder["process"] != ""
    return time.time() - renewed < STALE_SECONDS


def machine() -> str:
    """This machine since it was started, and this container: what process ids are of. Empty where unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def process_start(pid: int) -> str:
    """When a process started, so that another of the same id is not taken for it; empty where there is none.

    Where the system does not tell, every living process has the same answer.
    """
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "" if Path("/proc/self/stat").exists() or not exists(pid) else "unknown"
    return "" if state in "ZX" else fields[18]


def exists(pid: int) -> bool:
    """Whether there is a process of this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

"""The workers of one run on this machine: started, watched, and ended together.

torch's elastic launcher does not fit. When a worker fails it sends the others SIGTERM, which here asks for the state to
be saved; after a signal it gives them a fixed time, and sends no second one; it blames a crash on the neighbour whose
connection broke; its workers outlive it; and it keeps the handlers of signals, which the next job of a sweep needs.
"""

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from aevb.errors import ConfigError, Interrupted, NonFiniteLossError, Pruned, WorkerFailedError, first_line
from aevb.files import atomic_write

PATIENCE_SECONDS = 3.0
"""Time for the other workers to report their errors, once one has failed."""
ERROR_FILE = "AEVB_ERROR_FILE"
"""Names the file to which a worker writes the error that ends it, and when."""
KNOWN = (ConfigError, Interrupted, NonFiniteLossError, Pruned)

Report = tuple[float, Exception]


def train_together(folder: Path, size: int, samples: int) -> None:
    """Train the run of a folder in `size` workers on this machine, and wait for them.

    Each runs `python -m aevb.apps.worker <folder>` with torchrun's environment variables. The output of the first goes
    to the terminal, that of the others to `<folder>/rank_<rank>.log`. SIGINT and SIGTERM are passed on; a second one
    ends all at once. When one fails the others are ended, and when this process dies they die.

    Args:
        folder: A run folder, with the configuration written.
        size: How many workers.
        samples: Training samples seen before.

    Raises:
        ConfigError, NonFiniteLossError, Interrupted, Pruned: the error of the first worker to fail.
        WorkerFailedError: another error, or a signal, ended a worker; the message says which and why.
    """
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(size)}
    workers: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory() as errors, contextlib.ExitStack() as stack:
        stack.callback(kill, workers)
        for number in range(size):
            out = None if number == 0 else stack.enter_context((folder / f"rank_{number}.log").open("ab"))
            own = {"RANK": str(number), "LOCAL_RANK": str(number), ERROR_FILE: f"{errors}/{number}"}
            workers.append(
                subprocess.Popen(
                    [sys.executable, "-m", "aevb.apps.worker", str(folder)],
                    env={"OMP_NUM_THREADS": str(threads(size)), **os.environ, **shared, **own},
                    stdin=subprocess.PIPE,  # closed when this process dies, however it dies
                    stdout=out,
                    stderr=out,
                    start_new_session=True,  # Ctrl-C reaches them through this process alone, and once
                )
            )
        with forwarded_signals(workers) as received:
            codes = wait(workers)
        if any(codes):
            reports = [read_report(Path(errors) / str(number)) for number in range(size)]
            error = first_failure(codes, reports, folder)
            raise Interrupted(received[0], samples) if received and not isinstance(error, KNOWN) else error


def kill(workers: Sequence["subprocess.Popen[bytes]"]) -> None:
    """End workers at once."""
    for worker in workers:
        worker.kill()
        worker.communicate()


def threads(size: int) -> int:
    """Threads for each of `size` processes that share this one's cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # not on macOS
    return max(1, cores // size)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def forwarded_signals(workers: Sequence["subprocess.Popen[bytes]"]) -> Iterator[list[int]]:
    """Pass SIGINT and SIGTERM on to workers; a second one of a kind kills them. Yields those received."""
    received: list[int] = []

    def forward(signum: int, frame: FrameType | None) -> None:
        again = signum in received
        received.append(signum)
        for worker in workers:
            worker.send_signal(signal.SIGKILL if again else signum)

    previous = {signum: signal.signal(signum, forward) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)


def wait(workers: Sequence["subprocess.Popen[bytes]"]) -> list[int | None]:
    """The exit codes of all workers, once all have ended, or one has failed; None for those that go on."""
    end = float("inf")
    while any(worker.poll() is None for worker in workers) and time.monotonic() < end:
        if end == float("inf") and any(worker.returncode for worker in workers):
            end = time.monotonic() + PATIENCE_SECONDS
        time.sleep(0.05)
    return [worker.returncode for worker in workers]


def first_failure(codes: Sequence[int | None], reports: Sequence[Report | None], folder: Path) -> Exception:
    """The error that ended a run: a worker's known error, else a crash, else what the first to fail reported.

    A worker that crashes reports nothing, and the others report that their connections broke. The exit code is None
    for a worker that was ended with the others.
    """
    failed = sorted((report[0], worker, report[1]) for worker, report in enumerate(reports) if report)
    crashed = [worker for worker, code in enumerate(codes) if code and reports[worker] is None]
    known = [error for _, _, error in failed if isinstance(error, KNOWN)]
    if known:
        return known[0]
    worker = crashed[0] if crashed else failed[0][1]
    code = codes[worker] or 0
    cause = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    if not crashed:
        cause = f"failed: {failed[0][2]}"
    return WorkerFailedError(f"worker {worker} {cause}" + (f"; see {folder / f'rank_{worker}.log'}" if worker else ""))


def read_report(path: Path) -> Report | None:
    """When and why a worker failed; None where it has reported nothing."""
    try:
        report: Report = pickle.loads(path.read_bytes())  # written by a worker of our own
    except FileNotFoundError:
        return None
    return report


def report_error(error: BaseException) -> None:
    """Tell the process that has started this worker why it ends."""
    known = error if isinstance(error, KNOWN) else WorkerFailedError(first_line(error))
    atomic_write(os.environ[ERROR_FILE], pickle.dumps((time.time(), known)))


def die_with_parent() -> None:
    """End this process, whatever it is doing, when the one that has started it is gone."""

    def watch() -> None:
        os.read(0, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()

"""The worker processes of one run on this machine: started, watched, and ended together.

torch's elastic launcher does not fit: when a worker fails it sends SIGTERM to the others, which here means to save the
state; after a signal it waits for a fixed time, and forwards no second one; it attributes a crash to the worker whose
connection broke; its workers survive it; and it does not restore signal handlers, which the next job of a sweep needs.
"""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from lightning_fabric.plugins.environments.lightning import find_free_network_port

from aevb.errors import EXPECTED, Interrupted, WorkerFailedError, first_line
from aevb.files import atomic_write

PATIENCE_SECONDS = 3.0
"""Time for the other workers to report their errors after one has failed."""
ERROR_FILE = "AEVB_ERROR_FILE"
"""The environment variable with the path to which a worker writes its error and the time."""

Report = tuple[float, Exception]


def train_together(folder: Path, size: int, samples: int) -> None:
    """Train the run of a folder in `size` workers on this machine, and wait for them.

    Each runs `python -m aevb.apps.worker <folder>` with torchrun's environment variables. The output of rank 0 goes to
    the terminal, that of the others to `<folder>/rank_<rank>.log`. SIGINT and SIGTERM are forwarded; the second kills
    the workers. They are also killed when one of them fails, or this process ends.

    Args:
        folder: A run folder with the configuration.
        size: Number of workers.
        samples: Training samples seen before.

    Raises:
        ConfigError, NonFiniteLossError, Interrupted, Pruned: the error of the first worker to fail.
        WorkerFailedError: another error or a signal ended a worker; the message gives its rank and the cause.
    """
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_free_network_port()), "WORLD_SIZE": str(size)}
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
                    stdin=subprocess.PIPE,  # closed when this process ends, in whatever way
                    stdout=out,
                    stderr=out,
                    start_new_session=True,  # Ctrl-C reaches them only through `forwarded_signals`
                )
            )
        with forwarded_signals(workers) as received:
            codes = wait(workers)
        if any(codes):
            reports = [read_report(Path(errors) / str(number)) for number in range(size)]
            error = first_failure(codes, reports, folder)
            raise Interrupted(received[0], samples) if received and not isinstance(error, EXPECTED) else error


def kill(workers: Sequence["subprocess.Popen[bytes]"]) -> None:
    """Kill workers, and wait for their end."""
    for worker in workers:
        worker.kill()
        worker.communicate()


def threads(size: int) -> int:
    """Threads for each of `size` processes on the cores of this one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # not on macOS
    return max(1, cores // size)


@contextlib.contextmanager
def forwarded_signals(workers: Sequence["subprocess.Popen[bytes]"]) -> Iterator[list[int]]:
    """Forward SIGINT and SIGTERM to workers; the second of a kind kills them. Yields the signals received."""
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
    """Wait until all workers have ended or one has failed; returns their exit codes, None for those still running."""
    end = float("inf")
    while any(worker.poll() is None for worker in workers) and time.monotonic() < end:
        if end == float("inf") and any(worker.returncode for worker in workers):
            end = time.monotonic() + PATIENCE_SECONDS
        time.sleep(0.05)
    return [worker.returncode for worker in workers]


def first_failure(codes: Sequence[int | None], reports: Sequence[Report | None], folder: Path) -> Exception:
    """The error that ended a run: an expected error of a worker, else a crash, else the first reported error.

    A worker that crashes reports nothing, and the others report broken connections. Workers without an exit code were
    still running.
    """
    failed = sorted((report[0], worker, report[1]) for worker, report in enumerate(reports) if report)
    crashed = [worker for worker, code in enumerate(codes) if code and reports[worker] is None]
    expected = [error for _, _, error in failed if isinstance(error, EXPECTED)]
    if expected:
        return expected[0]
    worker = crashed[0] if crashed else failed[0][1]
    code = codes[worker] or 0
    cause = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    if not crashed:
        cause = f"failed: {failed[0][2]}"
    return WorkerFailedError(f"worker {worker} {cause}" + (f"; see {folder / f'rank_{worker}.log'}" if worker else ""))


def read_report(path: Path) -> Report | None:
    """The time and the error of a worker; None where it has reported nothing."""
    try:
        report: Report = pickle.loads(path.read_bytes())  # written by our own worker
    except FileNotFoundError:
        return None
    return report


def report_error(error: BaseException) -> None:
    """Report the error that ends this worker to the parent process."""
    reported = error if isinstance(error, EXPECTED) else WorkerFailedError(first_line(error))
    atomic_write(os.environ[ERROR_FILE], pickle.dumps((time.time(), reported)))


def die_with_parent() -> None:
    """Kill this process as soon as its parent has ended."""

    def watch() -> None:
        os.read(0, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()

"""The processes of one run on this machine: started, watched, and ended together."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from aevb.config import first_line
from aevb.errors import ConfigError, Interrupted, NonFiniteLossError, Pruned, RankFailedError
from aevb.files import atomic_write

PATIENCE_SECONDS = 3.0
"""For the other processes to say what happened to them, once one has ended badly."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)
LAST_WORDS = "AEVB_LAST_WORDS"
"""Names the file in which a process says why it ends."""
KNOWN: dict[str, type[Exception]] = {
    error.__name__: error for error in (ConfigError, Interrupted, NonFiniteLossError, Pruned)
}


def train_together(folder: Path, size: int) -> None:
    """Train the run of a folder in `size` processes on this machine, and wait for them.

    Each runs `python -m aevb.apps.worker <folder>` with the environment variables of torchrun, and so knows nothing of
    the command, or of the sweep, that this run belongs to. What the first says goes to the terminal, what the others
    say to `<folder>/rank_<number>.log`. SIGINT and SIGTERM are passed on; a second one ends all at once. When one of
    them ends badly the others are ended, and when this process dies they die.

    Args:
        folder: A run folder, with the configuration written.
        size: How many processes.

    Raises:
        ConfigError, NonFiniteLossError, Interrupted, Pruned: what the first of them to fail has raised.
        RankFailedError: another error, or a signal, ended one of them; the message says which and why.
    """
    with tempfile.TemporaryDirectory() as words, contextlib.ExitStack() as stack:
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(size)}
        processes: list[subprocess.Popen[bytes]] = []
        for number in range(size):
            out = None if number == 0 else stack.enter_context((folder / f"rank_{number}.log").open("ab"))
            place = {"RANK": str(number), "LOCAL_RANK": str(number), LAST_WORDS: f"{words}/{number}.json"}
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "aevb.apps.worker", str(folder)],
                    env={"OMP_NUM_THREADS": str(threads(size)), **os.environ, **address, **place},
                    stdin=subprocess.PIPE,  # closed when this process dies, however it dies
                    stdout=out,
                    stderr=out,
                    start_new_session=True,  # Ctrl-C reaches them through this process alone, and once
                )
            )
        try:
            with passed_on(processes) as received:
                codes = wait(processes)
        finally:
            for process in processes:
                process.kill()
                process.communicate()
        if any(codes):
            said = [last_words(Path(words) / f"{number}.json") for number in range(size)]
            raise failure(codes, said, received, folder)


def threads(size: int) -> int:
    """Threads for each of `size` processes that share this one's cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # not on macOS
    return max(1, cores // size)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def passed_on(processes: list[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    """Pass on signals to the processes within; a second one of a kind kills them. Yields those that came."""
    received: list[int] = []

    def pass_on(signum: int, frame: FrameType | None) -> None:
        again = signum in received
        received.append(signum)
        for process in processes:
            process.send_signal(signal.SIGKILL if again else signum)

    previous = {signum: signal.signal(signum, pass_on) for signum in SIGNALS}
    try:
        yield received
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)


def wait(processes: list[subprocess.Popen[bytes]]) -> list[int | None]:
    """Wait until all have ended well, or one badly and the others have had a moment to end, too.

    Returns:
        Their return codes; None for those that go on.
    """
    end = float("inf")
    while any(process.poll() is None for process in processes) and time.monotonic() < end:
        if end == float("inf") and any(process.returncode for process in processes):
            end = time.monotonic() + PATIENCE_SECONDS
        time.sleep(0.05)
    return [process.returncode for process in processes]


def failure(codes: list[int | None], said: list[dict[str, Any]], received: list[int], folder: Path) -> Exception:
    """Why processes ended badly: what a signal or a crash has done to one of them, else what the first to fail said.

    Args:
        codes: Their return codes; None for those that went on.
        said: Their last words; empty for those that said nothing.
        received: Signals that were passed on to them.
        folder: The run folder.
    """
    crashed = [number for number, code in enumerate(codes) if code and not said[number]]
    if crashed and not received:
        return RankFailedError(f"rank {crashed[0]} {manner(codes[crashed[0]])}{see(folder, crashed[0])}")
    spoken = sorted((words["time"], number) for number, words in enumerate(said) if words)
    for number in [number for _, number in spoken]:
        if said[number]["error"] in KNOWN:
            return KNOWN[said[number]["error"]](*said[number]["arguments"])
    if received:
        return Interrupted(received[0], json.loads((folder / "status.json").read_text())["samples"])
    number = spoken[0][1]
    return RankFailedError(f"rank {number} failed: {said[number]['message']}{see(folder, number)}")


def manner(code: int | None) -> str:
    """How a process ended that said nothing."""
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def see(folder: Path, number: int) -> str:
    """Where a process has said more; the first one's words are those of the command."""
    return f"; see {folder / f'rank_{number}.log'}" if number else ""


def last_words(path: Path) -> dict[str, Any]:
    """What a process has said about its end; empty where it said nothing."""
    try:
        words: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return words


def say_last_words(error: BaseException) -> None:
    """Tell the process that has started this one why it ends."""
    name = type(error).__name__
    words = {
        "time": time.time(),
        "error": name,
        "arguments": list(error.args) if name in KNOWN else [],
        "message": first_line(error),
    }
    atomic_write(os.environ[LAST_WORDS], json.dumps(words))


def die_with_parent() -> None:
    """End this process, whatever it is doing, when the one that has started it is gone."""

    def watch() -> None:
        os.read(0, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()

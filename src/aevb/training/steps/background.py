"""Compilation beside training, in a process of its own.

A thread would not do: while it traces and compiles, torch saves and restores the state of the random generator, from
which training draws its noise, and changes methods of all modules.
"""

import logging
import multiprocessing
import os
import signal
import sys
import warnings
import weakref
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import torch

from aevb.errors import first_line
from aevb.training.steps.runner import TrainingStep


def allowed(step: TrainingStep) -> bool:
    """Whether a step may be compiled beside training, which continues by the program at a time that nothing determines.

    A GPU's driver does not survive the copy of a process; several processes, or members, switch together at once.
    """
    is_alone = step.trainer.world_size == 1 and not isinstance(step.module.optimizers(), list)
    is_timeless = torch.are_deterministic_algorithms_enabled()
    return sys.platform == "linux" and is_alone and not torch.cuda.is_initialized() and not is_timeless


class Background:
    """Calls a function in a copy of this process, which ends with this object or with the program.

    Args:
        compute: Called there; what it returns is lost, what it leaves on disk is not.
    """

    def __init__(self, compute: Callable[[], object]) -> None:
        context = multiprocessing.get_context("fork")
        self.reason, send = context.Pipe(duplex=False)
        self.process = context.Process(target=run_aside, args=(compute, send), daemon=True)
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of a copy of several threads
            self.process.start()
        send.close()
        weakref.finalize(self, end, self.process)

    @property
    def ended(self) -> bool:
        return not self.process.is_alive()

    def error(self) -> str | None:
        """Why the function failed, once it has ended; None: it did not."""
        with suppress(EOFError):
            found: str | None = self.reason.recv()
            return found
        return f"its compiler ended with exit code {self.process.exitcode}"


def run_aside(compute: Callable[[], object], send: Connection) -> None:
    """Call a function, and send the reason why it failed, or None."""
    os.setpgid(0, 0)  # Ctrl-C is for training; and what this process starts ends with it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.disable()
    torch.set_num_threads(1)  # the threads of OpenMP are not copied
    reason = None
    try:
        compute()
    except Exception as error:  # whatever a compiler raises
        reason = first_line(error)
    send.send(reason)


def end(process: BaseProcess) -> None:
    """End a process and what it has started, if it has not ended."""
    if process.is_alive() and process.pid is not None:
        with suppress(ProcessLookupError):  # it has no group of its own yet
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.join()

"""The programs train.py, evaluate.py, report.py and export.py, and their functions in Python."""

import logging
import os
import sys
from collections.abc import Callable
from typing import TypeVar

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

import aevb.sweeps.names  # noqa: F401 - registers the resolvers that name the folders of sweeps
from aevb.errors import ConfigError, JobFailedError, Stopped, fail, file_error, last_line

T = TypeVar("T")


def run(program: Callable[[DictConfig], T], config: DictConfig) -> T:
    """Call a program, and exit with one line where it fails for a known reason.

    The exit code is 2 for an invalid setting, 1 for a failed run, and 128 + signal number for an interruption. Hydra
    shows other exceptions. In a sweep, an invalid setting ends only its own job.
    """
    try:
        return program(config)
    except ConfigError as error:
        if HydraConfig.get().mode != RunMode.MULTIRUN:
            fail(last_line(error), 2)
        print(last_line(error), file=sys.stderr, flush=True)
        raise JobFailedError(str(error)) from None
    except Stopped as error:
        fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        fail("interrupted", 130)
    except Exception as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:  # the sweep continues, and shows one line in its table
            logging.getLogger("aevb").exception("failed")
        elif isinstance(error, OSError):
            fail(f"error: {file_error(error)}", 1)
        raise


def yield_idle_cores() -> None:
    """Let waiting threads of GNU OpenMP spin only briefly, unless the user has set a policy; before torch is imported.

    By default they spin for milliseconds, which blocks other processes on the same cores: on two cores shared with
    other runs, a step of the paper's MNIST model took 40 to 600 ms, with this setting 9 to 22 ms. On free cores the
    setting costs nothing, whereas threads that sleep at once train at little more than half the speed.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")

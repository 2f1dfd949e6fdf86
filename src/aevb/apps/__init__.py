"""The programs: configuration in, work done, result out."""

import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn, TypeVar

from omegaconf import DictConfig

import aevb.sweeps.names  # noqa: F401 - registers the resolvers that name the folders of sweeps
from aevb.errors import ConfigError, Stopped

T = TypeVar("T")


def run(program: Callable[[DictConfig], T], config: DictConfig) -> T:
    """Call a program; where it cannot go on for a reason it knows, say so in one line and exit.

    The exit code is 2 for a setting that makes no sense, 1 for a run that failed, and 128 + the signal's number for one
    that was interrupted. Other exceptions are for Hydra to show.
    """
    try:
        return program(config)
    except ConfigError as error:
        fail(f"error: {error}", 2)
    except Stopped as error:
        fail(str(error), error.exit_code)


def fail(message: str, code: int) -> NoReturn:
    """Print the message as the last line, and exit."""
    print(message, file=sys.stderr)
    sys.exit(code)


def yield_idle_cores() -> None:
    """Let GNU OpenMP's threads spin only briefly while they wait, unless the user has set its policy.

    To be called before torch is imported. By default they spin for milliseconds, in the time slices of other processes
    too: on two cores with other runs on them, a step of the paper's MNIST model took 40 to 600 ms, and with this 9 to
    22 ms. On free cores it costs nothing, whereas threads that sleep at once train at little more than half the speed.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


EXTRAS = {
    "hydra/launcher=joblib": ("hydra_plugins.hydra_joblib_launcher", "joblib"),
    "hydra/sweeper=optuna": ("hydra_plugins.hydra_optuna_sweeper", "optuna"),
    "sweep=learning_rate": ("hydra_plugins.hydra_optuna_sweeper", "optuna"),
}
"""Arguments that need a package of Hydra's which is an extra: its name, and the extra's."""


RENAMED = {"record_steps": "steps=recorded or steps=eager", "compile_steps": "steps=compiled"}
"""Former keys, and what replaces them."""


def check_arguments() -> None:
    """Stop before Hydra makes a folder of a mistyped `resume=`, misses a package or a key, and quote the folders.

    The folders of a sweep's jobs hold characters (= and ,) that mean something to Hydra, and shells complete them as
    they are.
    """
    for index, argument in enumerate(sys.argv):
        module, extra = EXTRAS.get(argument, ("", ""))
        if module and find_spec(module) is None:
            fail(f"error: {argument} is an extra; install it with: pip install 'aevb[{extra}]'", 2)
        key, _, value = argument.partition("=")
        if key.lstrip("+~") in RENAMED:
            fail(f"error: {key} is no longer a setting; use {RENAMED[key.lstrip('+~')]}", 2)
        value = value.strip("'\"")
        if key != "resume" or value in ("", "null"):
            continue
        if not (Path(value) / ".hydra" / "config.yaml").is_file():
            fail(f"error: resume: {value} is no run folder: it has no .hydra/config.yaml", 2)
        escaped = value.replace("'", "\\'")
        sys.argv[index] = f"resume='{escaped}'"


def quote_folders(key: str) -> None:
    """Quote the value of an argument that names a folder, for the same reason; a list is left to its user to quote."""
    for index, argument in enumerate(sys.argv):
        name, _, value = argument.partition("=")
        if name == key and value and value[0] not in "'\"[":
            escaped = value.replace("'", "\\'")
            sys.argv[index] = f"{key}='{escaped}'"

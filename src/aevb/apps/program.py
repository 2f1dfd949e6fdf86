"""The installed program `aevb`; train.py, evaluate.py, report.py and export.py of a checkout are the same code."""

import gc
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from aevb import __version__
from aevb.apps import run, yield_idle_cores
from aevb.apps.command_line import check_command_line
from aevb.config import conf_folder
from aevb.errors import fail
from aevb.types import did_you_mean

USAGE = f"""\
aevb {__version__}: train, evaluate and extend variational auto-encoders

  aevb train data=digits                  train a model
  aevb evaluate run=outputs/…             estimate log p(x), and look at a model
  aevb report runs=outputs                figures, tables and a page of runs
  aevb export run=outputs/…               a model to share: weights, configuration and card

  aevb train --help                       the settings of a program; the same for the others
  aevb train --config-dir my_conf         with YAML files of your own, my_conf/model/mine.yaml
"""


def train(config: DictConfig) -> Any:
    """The task that Hydra calls for train.py, and pickles for the jobs of a sweep."""
    return call("train", config)


def evaluate(config: DictConfig) -> Any:
    """As `train`, for evaluate.py."""
    return call("evaluate", config)


def report(config: DictConfig) -> Any:
    """As `train`, for report.py."""
    return call("report", config)


def export(config: DictConfig) -> Any:
    """As `train`, for export.py."""
    return call("export", config)


def call(name: str, config: DictConfig) -> Any:
    """Call a program; its module imports torch, so it is imported only here.

    The garbage collector waits meanwhile, and then leaves out what is there: searching the objects of all modules,
    which stay, would take a quarter of the time of the imports.
    """
    module = f"aevb.apps.{name}"
    if module not in sys.modules:
        gc.disable()
        try:
            import_module(module)
        finally:
            gc.freeze()
            gc.enable()
    return run(getattr(sys.modules[module], name), config)


PROGRAMS = {"train": train, "evaluate": evaluate, "report": report, "export": export}


def start(name: str) -> None:
    """Run a program with the arguments of this process."""
    add_current_folder()
    check_command_line(name, conf_folder())
    yield_idle_cores()
    hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=name)(PROGRAMS[name])()


def add_current_folder() -> None:
    """Make modules in the current folder importable, such as heads.py, after installed ones.

    A run folder and everything below it is data of unknown origin: nothing is imported from there.
    """
    try:
        here = Path.cwd()
    except FileNotFoundError:
        return
    is_of_a_run = any((folder / name).exists() for folder in (here, *here.parents) for name in MARKS)
    if not is_of_a_run and str(here) not in sys.path:
        sys.path.append(str(here))


MARKS = (".hydra/config.yaml", "status.json")
"""Files by which a run folder is recognized."""


def main() -> None:
    """The program `aevb`, whose first argument is the name of a program."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(USAGE, end="")
    elif name == "--version":
        print(__version__)
    elif name in PROGRAMS:
        sys.argv[1:] = arguments
        start(name)
    else:
        hint = did_you_mean(name, PROGRAMS) or f"; it may be {', '.join(PROGRAMS)}"
        fail(f"error: aevb: there is no program {name!r}{hint}", 2)

"""A call of train.py as a value: everything that is read from Hydra, once."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from aevb.config import conf_folder
from aevb.errors import ConfigError
from aevb.runs.folder import RunFolder
from aevb.runs.stored import PLACES, absolute


@dataclass(frozen=True)
class Command:
    """A call of train.py, or a job of a sweep.

    Attributes:
        config: The composed configuration; in a sweep, its name is the default of the logger's group.
        overrides: The command line, such as `["model=gaussian", "seed=1"]`; None of a configuration that a program
            gave to `aevb.train`, which may have changed it.
        folder: The run folder.
        is_job: Whether this is a job of a sweep.
        hydra: Hydra's own configuration, the values of `${hydra:…}`.
    """

    config: DictConfig
    overrides: list[str] | None
    folder: RunFolder
    is_job: bool
    hydra: Any

    @classmethod
    def of(cls, config: DictConfig) -> "Command":
        """The command for which Hydra composed `config`."""
        hydra, config = HydraConfig.get(), with_absolute_places(config)
        is_job = hydra.mode == RunMode.MULTIRUN
        if is_job and config.resume is not None:  # swept over; the sweep itself refuses one for all its jobs
            raise ConfigError("resume: the same command again continues a sweep; drop resume, or -m")
        for logger in config.logger.values() if is_job else ():
            if logger is not None and "group" in logger:
                # Stored with the run, so that a job that is resumed alone keeps it.
                logger.group = logger.group or Path(hydra.sweep.dir).name
        folder = RunFolder(os.path.relpath(config.paths.run))
        return cls(config, list(hydra.overrides.task), folder, bool(is_job), hydra)

    @classmethod
    def of_call(cls, config: DictConfig) -> "Command":
        """The command of a configuration that a program, not a command line, has composed."""
        config = with_absolute_places(config)
        OmegaConf.clear_cache(config)  # of the time in the name of its run folder
        config.paths.run = absolute(config.paths.run)
        logging = OmegaConf.load(conf_folder() / "hydra" / "job_logging" / "aevb.yaml")
        hydra = OmegaConf.create({"verbose": False, "runtime": {}, "job_logging": logging})
        return cls(config, None, RunFolder(os.path.relpath(config.paths.run)), False, hydra)

    @property
    def line(self) -> str:
        """The command line."""
        return "aevb.train(config)" if self.overrides is None else " ".join(["train.py", *self.overrides])


def with_absolute_places(config: DictConfig) -> DictConfig:
    """A copy of a configuration that says from the root where data are."""
    config = config.copy()
    for key in PLACES:
        if isinstance(place := OmegaConf.select(config, key), str):
            OmegaConf.update(config, key, absolute(place))
    return config

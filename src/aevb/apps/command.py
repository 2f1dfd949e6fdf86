"""What one call of train.py asks for, as a value: read from Hydra once, at the top."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from aevb.errors import ConfigError
from aevb.runs.folder import RunFolder
from aevb.runs.stored import PLACES, absolute


@dataclass(frozen=True)
class Command:
    """A call of train.py, or a job of a sweep.

    Attributes:
        config: The composed configuration; the logger's group is the sweep's name where the user gives none.
        overrides: The command line, such as `["model=gaussian", "seed=1"]`.
        folder: The run folder.
        is_job: Whether this is a job of a sweep.
        hydra: Hydra's own configuration, the values of `${hydra:…}`.
    """

    config: DictConfig
    overrides: list[str]
    folder: RunFolder
    is_job: bool
    hydra: Any

    @classmethod
    def of(cls, config: DictConfig) -> "Command":
        """The command that Hydra has composed `config` for."""
        hydra, config = HydraConfig.get(), config.copy()
        for key in PLACES:
            if isinstance(place := OmegaConf.select(config, key), str):
                OmegaConf.update(config, key, absolute(place))
        is_job = hydra.mode == RunMode.MULTIRUN
        if is_job and config.resume is not None:
            raise ConfigError("resume: the same command again continues a sweep; drop resume, or -m")
        if is_job and "group" in config.logger:
            # Part of the run's configuration, so that a job that is resumed on its own keeps it.
            config.logger.group = config.logger.group or Path(hydra.sweep.dir).name
        folder = RunFolder(os.path.relpath(config.paths.run))
        return cls(config, list(hydra.overrides.task), folder, bool(is_job), hydra)

    @property
    def line(self) -> str:
        """The command line."""
        return " ".join(["train.py", *self.overrides])

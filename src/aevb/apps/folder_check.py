"""Whether the folder that a command names can be used, found out before Hydra makes it and torch is imported."""

from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from aevb.errors import ConfigError, fail
from aevb.files import require_writable


class FolderCheck(Callback):
    """A Hydra callback that ends the program with one line where the run's or the sweep's folder cannot be written."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        HydraConfig.instance().set_config(config)  # as Hydra does next; the folder's name may depend on it
        check(config, "hydra.run.dir")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        check(config, "hydra.sweep.dir")


def check(config: DictConfig, key: str) -> None:
    """End the program where `key` names no folder that can be written."""
    try:
        folder = OmegaConf.select(config, key)
        if not isinstance(folder, str) or not folder.strip():
            raise ConfigError(f"{key} must name a folder, got {folder!r}")
        require_writable(Path(folder), key)
    except ConfigError as error:
        fail(f"error: {error}", 2)
    except (OSError, OmegaConfBaseException) as error:  # of a resolver that makes the folder
        fail(f"error: {ConfigError(f'{key}: {error}')}", 2)

"""The data of a run."""

from pathlib import Path

from omegaconf import DictConfig

from aevb.config import instantiate
from aevb.data import InMemoryDataModule
from aevb.errors import ConfigError, first_line


def load_data(config: DictConfig) -> InMemoryDataModule:
    """The data module of a configuration, with its data loaded."""
    data: InMemoryDataModule = instantiate(config.data)
    try:
        data.prepare_data()
        data.setup()
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return data


def load_stored_data(config: DictConfig) -> InMemoryDataModule:
    """As `load_data`, for a configuration of unknown origin: any error is a `ConfigError` of one line."""
    path = config.data.get("path")
    if isinstance(path, str) and not Path(path).exists():
        raise ConfigError(f"data.path: {path} does not exist; if the file was moved, add data.path=<its new place>")
    if "local_files_only" in config.data:
        config.data.local_files_only = True  # a configuration of unknown origin sends nothing
    try:
        return load_data(config)
    except Exception as error:  # libraries do not document their exceptions for invalid settings
        raise ConfigError(first_line(error)) from error

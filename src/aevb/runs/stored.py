"""The stored configuration of a run: plain values when it is written, data of unknown origin when it is read.

Interpolations are resolved when the configuration is written, in the environment of its user, and refused when it is
read. Other folders, servers and URLs in a stored configuration are used only if the command that reads it names them.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from aevb.errors import ConfigError, one_line
from aevb.runs.formats import read_yaml

INTERPOLATION = re.compile(r"(?<!\\)(?:\\\\)*\$\{")
OUTWARD = ("callbacks", "logger", "trainer")
"""Sections whose parts write files or send data."""
SECTIONS = {"callbacks", "data", "logger", "model", "objective", "optimizer", "paths", "schedule", "trainer"}
NULLABLE = {"schedule"}
PATHS = ("default_root_dir", "dir", "dirpath", "folder", "log_dir", "path", "root_dir", "save_dir")
"""Their settings that name a folder to write to."""
DESTINATION = ("entity", "project")
"""Settings of a logger that select the place of a run on its server."""
PLACES = {"paths.data": "root", "data.path": "path"}
"""Keys of a command that say where the data are now, and the setting of a data set that each replaces."""
DATA_SETS = (
    "BinarizedMNIST",
    "CIFAR10",
    "Caltech101Silhouettes",
    "EMNIST",
    "FashionMNIST",
    "FreyFace",
    "JSB",
    "KMNIST",
    "MNIST",
    "Melodies",
    "Omniglot",
    "SVHN",
)
"""Subfolders by which a folder of data sets is recognized."""


def stored_text(config: DictConfig) -> str:
    """A configuration as YAML of plain values."""
    return OmegaConf.to_yaml(resolved(config))


def resolved(config: DictConfig) -> DictConfig:
    """A configuration without interpolations."""
    try:
        content = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key or 'the configuration'}: {one_line(str(error).splitlines()[0])}") from error
    plain = OmegaConf.create(escaped(content))
    assert isinstance(plain, DictConfig)
    return plain


def escaped(value: Any) -> Any:
    """A plain value with its strings escaped, so that OmegaConf reads them unchanged."""
    if isinstance(value, dict):
        return {key: escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escaped(item) for item in value]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value


def read_config(file: Path, folder: Path) -> DictConfig:
    """The stored configuration in a file of a run folder; nothing in it is resolved.

    Raises:
        ConfigError: it cannot be read, holds an interpolation, or is of aevb 0.1.
    """
    content = read_yaml(file, folder)
    if not isinstance(content, dict):
        raise ConfigError(f"{file} cannot be read: it holds no mapping")
    model = content.get("model")
    if isinstance(model, dict) and model.get("_target_") in ("aevb.model.build", "aevb.vae.build"):
        raise ConfigError(f"{folder} was made by aevb 0.1, whose models this version cannot load; train it again")
    for section in SECTIONS & content.keys():
        if not isinstance(content[section], dict) and not (section in NULLABLE and content[section] is None):
            raise ConfigError(f"{file}: {section} must hold settings, got {str(content[section])[:80]!r}")
    for key, value in leaves(content):
        if isinstance(value, str) and INTERPOLATION.search(value):
            raise ConfigError(
                f"{file}: {key} is an interpolation, {value[:80]!r}, which a stored configuration must not contain"
            )
        parents, _, last = key.rpartition(".")
        is_target = last == "_target_" and isinstance(value, str)
        if last == "_args_" or (last == "_target_" and not is_target) or "_target_" in parents.split("."):
            raise ConfigError(f"{file}: {key} must not be {value!r}")
    content.pop("module", None)  # of earlier versions: it repeated other sections
    config = OmegaConf.create(content)
    assert isinstance(config, DictConfig)
    return config


def leaves(value: Any, prefix: str = "", split_lists: bool = True) -> Iterator[tuple[str, Any]]:
    """The values in a nested container with their full keys; a list called `_args_` is one value."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{prefix}.{key}" if prefix else str(key), split_lists)
    elif isinstance(value, list) and split_lists and not prefix.endswith("_args_"):
        for index, item in enumerate(value):
            yield from leaves(item, f"{prefix}.{index}")
    else:
        yield prefix, value


def with_changes(stored: DictConfig, command: DictConfig, changes: Sequence[str]) -> tuple[DictConfig, list[str]]:
    """The configuration of a resumed run.

    Args:
        stored: The stored configuration.
        command: The configuration that the command alone would give.
        changes: The keys that the command changes.

    Returns:
        The configuration, and notes for the user on what differs from the stored one.
    """
    config = stored.copy()
    folder, file = (OmegaConf.select(command, key) if key in changes else None for key in PLACES)
    relocate(config, command.paths.run, folder, file)
    for key in (key for key in changes if key not in PLACES):
        OmegaConf.update(config, key, OmegaConf.select(command, key), merge=False, force_add=True)
    return config, confine(config, command)


def relocate(stored: DictConfig, run: str, data: str | None, file: str | None = None) -> None:
    """Replace the paths in a stored configuration by those where run and data are now.

    Args:
        stored: Changed in place.
        run: The run folder.
        data: The folder of data sets, the new value of `data.root` where there is one; None: see `data_folder`.
        file: The new value of `data.path` where there is one; None: as stored.
    """
    paths, settings = stored.get("paths") or {}, cast(Any, stored.get("data") or {})
    old_run, old_data = paths.get("run"), paths.get("data")
    data = absolute(data_folder(old_data) if data is None else data)
    stored.paths = {"data": data, "run": run}
    for section in OUTWARD:
        content = OmegaConf.to_container(stored).get(section)  # type: ignore[union-attr]
        for key, value in leaves(content, section):
            if isinstance(value, str) and isinstance(old_run, str) and PurePath(value).is_relative_to(old_run):
                OmegaConf.update(stored, key, str(Path(run, PurePath(value).relative_to(old_run))))
    if "root" in settings:
        settings.root = data
    if file is not None and "path" in settings:
        settings.path = absolute(file)


def absolute(path: str) -> str:
    """The absolute path, with ~ expanded."""
    return str(Path(path).expanduser().absolute())


def data_folder(stored: object) -> str:
    """The default folder of data sets: AEVB_DATA_DIR, else the stored one if it has data sets, else `data`."""
    if "AEVB_DATA_DIR" in os.environ:
        return os.environ["AEVB_DATA_DIR"]
    if isinstance(stored, str) and any(Path(stored, name).is_dir() for name in DATA_SETS):
        return stored
    return "data"


def confine(stored: DictConfig, command: DictConfig) -> list[str]:
    """Let a resumed run write only to its folder, and send only to servers that the command names.

    Args:
        stored: The relocated configuration with the command's changes; changed in place.
        command: The configuration that the command alone would give.

    Returns:
        Notes for the user on what was changed.
    """
    require_within_run(stored, command)
    urls = OmegaConf.select(stored, "data.urls")
    if urls is not None and urls != OmegaConf.select(command, "data.urls"):
        del stored.data.urls
    loggers = {name: node for name, node in (stored.get("logger") or {}).items() if isinstance(node, DictConfig)}
    notes = [confine_logger(name, node, command.logger.get(name) or {}) for name, node in loggers.items()]
    return [note for note in notes if note]


def require_within_run(stored: DictConfig, command: DictConfig) -> None:
    """Raise a `ConfigError` where a part names a URL or a path outside of the run that the command does not name."""
    run = os.path.realpath(command.paths.run)
    given = dict(leaves(OmegaConf.to_container(command, resolve=True)))
    for key, value in leaves(OmegaConf.to_container(stored, resolve=True)):
        if key.split(".")[0] in OUTWARD and isinstance(value, str) and given.get(key) != value:
            is_path = key.rpartition(".")[2] in PATHS
            inside = Path(os.path.realpath(value)).is_relative_to(run)
            leads_out = not inside if is_path else PurePath(value).is_absolute() or ".." in PurePath(value).parts
            if leads_out or "://" in value:
                raise ConfigError(f"{key}: {value} is outside of the run folder {run}; to use it, add {key}={value}")


def confine_logger(name: str, logger: DictConfig, own: Any) -> str:
    """Let a stored logger send only what and where the command's `own` does; a note where it is offline instead."""
    if "offline" not in logger:
        return ""
    own = own if own.get("_target_") == logger.get("_target_") else {}
    logger.log_model = bool(own.get("log_model"))
    if logger.offline is True:
        return ""
    if own and all(logger.get(key) == own.get(key) for key in DESTINATION):
        logger.offline = own.offline
        return ""
    logger.offline = True
    place = {key: logger.get(key) for key in DESTINATION if logger.get(key)}
    settings = " ".join(f"logger.{name}.{key}={value}" for key, value in place.items())
    where = "/".join(map(str, place.values()))
    return f"offline: this command does not send to {where}, as the run did; to send, add {settings}"

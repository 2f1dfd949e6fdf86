"""What a command may do with a run folder: start the run, continue it, or leave it as it is."""

import logging
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, Node, OmegaConf

from aevb.config import require_allowed
from aevb.errors import ConfigError
from aevb.runs.folder import RunFolder
from aevb.runs.load import require_version
from aevb.sweeps.names import parse, root

log = logging.getLogger("aevb")

CHANGEABLE = ("allow", "callbacks", "logger", "max_samples", "resume", "steps", "sweep", "trainer")
"""What may be said beside `resume`, or differ when a sweep is continued: the rest is the run's own."""
FILLED = ("data.shape", "model.likelihood.bounded", "optimizer.lr")
"""What a run fills in where it is null or auto."""


def is_job() -> bool:
    """Whether this run is a job of a sweep."""
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


def claim(config: DictConfig, folder: RunFolder) -> DictConfig | None:
    """The configuration to train a run folder by, written down there; None where there is nothing left to do.

    The caller holds the folder's lock.

    Raises:
        ConfigError: the folder is another run's, or the command changes what a run that continues cannot change.
    """
    command = list(HydraConfig.get().overrides.task)
    group_in_sweep(config)
    if config.resume is not None:
        if is_job():
            raise ConfigError("resume: the same command again continues a sweep; drop resume, or -m")
        return resumed_config(config, folder, command)
    if is_job() and folder.has_begun:
        return continued_job(config, folder, command)
    folder.create(config, command)
    return config


def group_in_sweep(config: DictConfig) -> None:
    """Let the logger know the sweep as the group, where it has such a setting.

    It is written to the run's configuration, so that a resumed job, which runs by itself, keeps it.
    """
    if is_job() and "group" in config.logger:
        config.logger.group = config.logger.group or Path(HydraConfig.get().sweep.dir).name


def continued_job(config: DictConfig, folder: RunFolder, command: list[str]) -> DictConfig | None:
    """The configuration of a sweep's job whose folder exists; None where it is not to be trained again.

    A finished job is not trained again, unless more samples or epochs are asked for. A job that was interrupted or
    killed, or failed, continues from its last checkpoint; without one it starts anew.

    Raises:
        ConfigError: the folder was made with other settings.
    """
    state, stored = folder.status()["state"], folder.config()
    is_longer = require_same_settings(config, stored, folder)
    if state == "pruned" or (state == "finished" and not is_longer):
        log.info("%s already: %s", state, folder.path.name)
        return None
    if state == "failed" and not config.sweep.retry_failed:
        log.info("failed earlier; not retried: %s", folder.path.name)
        return None
    if not folder.last_checkpoint.exists():
        folder.begin(config, command, folder.status()["id"])
        folder.write_status(resumed_after=ended_as(state))
        return config
    kept = [override.input_line for override in parse(command) if root(override) in CHANGEABLE]
    return resumed_config(config, folder, [line for line in kept if line is not None])


def require_same_settings(config: DictConfig, stored: DictConfig, folder: RunFolder) -> bool:
    """Whether the command asks for a longer run than the stored one, all else being equal.

    Raises:
        ConfigError: they differ in what a run keeps, or the command asks for a shorter run.
    """
    asked, made = leaves(config), leaves(stored)
    for key in asked.keys() & made.keys():
        is_open = key.split(".")[0] in CHANGEABLE or (key in FILLED and asked[key] in (None, "auto"))
        if not is_open and asked[key] != made[key]:
            raise ConfigError(
                f"{key}: {folder.path} was made with {made[key]!r}, not {asked[key]!r}; name another sweep by "
                "sweep.name=…"
            )
    is_longer = False
    for key in ("max_samples", "trainer.max_epochs"):
        before, now = OmegaConf.select(stored, key), OmegaConf.select(config, key)
        if before != now and (before is None or (now is not None and now < before)):
            raise ConfigError(
                f"{key}: {folder.path} was made with {before!r}, which may grow, but not become {now!r}; name another "
                "sweep by sweep.name=…"
            )
        is_longer |= before != now
    return is_longer


def leaves(config: DictConfig, prefix: str = "") -> dict[str, object]:
    """The values of a configuration by their full keys, interpolations as they are written."""
    found: dict[str, object] = {}
    for key, value in config.items_ex(resolve=False):
        if isinstance(value, DictConfig) and not value._is_none() and not value._is_interpolation():
            found |= leaves(value, f"{prefix}{key!s}.")
        else:
            found[f"{prefix}{key!s}"] = value._value() if isinstance(value, Node) else value
    return found


def resumed_config(config: DictConfig, folder: RunFolder, command: list[str]) -> DictConfig:
    """The configuration of the run to continue, with what this command changes in it, written down again.

    Raises:
        ConfigError: the command changes what a resumed run cannot change, or the run's configuration names what may not
            be instantiated.
    """
    stored = folder.config()
    for override in parse(command):
        key = override.key_or_group
        if root(override) not in CHANGEABLE:
            raise ConfigError(f"{key}: a resumed run keeps its own; drop {override.input_line}, or start a new run")
        if key != "resume":
            OmegaConf.update(stored, key, OmegaConf.select(config, key), merge=False, force_add=True)
    require_version(stored, folder.path)
    require_allowed(stored, config.allow)
    folder.write_config(stored)
    folder.write_status(resumed_after=ended_as(folder.status()["state"]))
    return stored


def ended_as(state: str) -> str:
    """How a run ended that nobody trains any more, by the state that it was left in."""
    return "killed" if state == "running" else state

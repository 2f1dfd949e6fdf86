"""Start or resume the run of a command."""

import logging
import uuid

from omegaconf import DictConfig, OmegaConf

from aevb.apps.command import Command
from aevb.apps.command_line import CHANGEABLE, keeps_its_own
from aevb.config import require_allowed
from aevb.errors import ConfigError, OtherRunError
from aevb.runs.data import load_stored_data
from aevb.runs.derived import require_trainable
from aevb.runs.description import parsed_command
from aevb.runs.folder import RunFolder
from aevb.runs.stored import PLACES, leaves, resolved, with_changes
from aevb.sweeps.names import parse, root
from aevb.types import shown

log = logging.getLogger("aevb")

FILLED = ("data.shape", "model.likelihood.bounded", "optimizer.lr")
"""Settings that a run fills in where they are null or auto."""
RAISED = ("max_samples", "trainer.max_epochs")
"""Limits of the training that a command may raise, not lower."""
LIMITS = (*RAISED, "trainer.max_steps", "trainer.max_time")
"""Limits of the training that a command may change at all."""


def start_or_resume(command: Command) -> DictConfig | None:
    """The configuration to train by, written to the run folder; None where nothing is left to train.

    The caller holds the folder's lock.
    """
    config, folder = command.config, command.folder
    continues = config.resume is not None or command.is_job
    if not continues or not folder.has_begun:
        overrides = command.overrides
        if config.resume is not None:
            config, overrides = merged(command), folder.command()
        folder.create(config, overrides)
        return config
    try:
        stored, status = folder.config(), folder.status()
    except ConfigError:
        if not command.is_job or folder.last_checkpoint.exists():
            raise
        log.info("damaged, without a checkpoint; starting anew: %s", folder.path.name)
        folder.begin(config, command.overrides, uuid.uuid4().hex[:8])
        return config
    require_trainable(folder, status)
    if command.is_job:
        require_same_settings(config, stored, folder)
    to_train = merged(command)
    require_same_data(to_train, folder)
    if nothing_left(command, status["state"], is_longer(to_train, stored, folder)):
        return None
    if command.is_job and not folder.last_checkpoint.exists():
        folder.begin(config, command.overrides, status["id"])
        to_train = config
    else:
        folder.resume(to_train, continued(command))
    folder.write_status(resumed_after="killed" if status["state"] == "running" else status["state"])
    return to_train


def require_same_data(config: DictConfig, folder: RunFolder) -> None:
    """Raise an `OtherRunError` where the data differ from those that the run was trained with."""
    if folder.last_checkpoint.exists():
        _, checkpoint = folder.load_checkpoint("last")
        try:
            load_stored_data(config).require_same(checkpoint)
        except ConfigError as error:
            raise OtherRunError(f"{error} ({folder.path})") from error


def nothing_left(command: Command, state: str, is_longer: bool) -> bool:
    """Whether the run is finished, pruned, or a failed job that is not retried; logs the reason."""
    reason, advice = "", "" if command.is_job else "; raise max_samples or trainer.max_epochs to train it further"
    if state == "finished" and not is_longer:
        reason = "finished already"
    elif command.is_job and state == "pruned":
        reason = "pruned already"
    elif command.is_job and state == "failed" and not command.config.sweep.retry_failed:
        reason = "failed earlier; not retried"
    if reason:
        log.info("%s: %s%s", reason, command.folder.path.name, advice)
    return bool(reason)


def merged(command: Command) -> DictConfig:
    """The stored configuration of the run with the changes of this command."""
    stored, changes = command.folder.config(), []
    overrides = parse(command.overrides or [])
    names_file = any(override.key_or_group == "data.path" for override in overrides)
    for override in overrides:
        key = override.key_or_group
        if root(override) in CHANGEABLE:
            changes += [] if key == "resume" else [key]
        elif key in PLACES:
            changes.append(key)
            if PLACES[key] not in stored.data:
                raise ConfigError(f"{key}: the data of {command.folder.path} have no such setting; drop it")
        elif key == "data" and names_file:
            continue  # data=array, which makes data.path known to Hydra
        elif not command.is_job:  # the settings of a job are compared in `require_same_settings`
            raise ConfigError(keeps_its_own(override))
    config, notes = with_changes(stored, command.config, changes)
    require_allowed(config, command.config.allow)
    for note in notes:
        log.info("%s", note)
    return config


def continued(command: Command) -> list[str] | None:
    """The overrides that make the run as this command continues it; None where those of the run cannot be read."""
    if command.is_job:
        return command.overrides
    try:
        before = parsed_command(command.folder)
    except ConfigError:
        return None
    changes = [
        override
        for override in parse(command.overrides or [])
        if override.key_or_group != "resume" and (root(override) in CHANGEABLE or override.key_or_group in PLACES)
    ]
    by_key = {override.key_or_group: override for override in (*before, *changes)}
    return [str(override.input_line) for override in by_key.values()]


def is_longer(config: DictConfig, stored: DictConfig, folder: RunFolder) -> bool:
    """Whether a configuration trains the run further than the stored one."""
    changed = False
    for key in LIMITS:
        before, now = OmegaConf.select(stored, key), OmegaConf.select(config, key)
        if key in RAISED and not isinstance(before, int | float | None):
            raise ConfigError(f"{key}: {folder.path} was made with {before!r}, which is not a number")
        if key in RAISED and before != now and (before is None or (now is not None and now < before)):
            raise OtherRunError(
                f"{key}: {folder.path} was made with {shown(before)}, which may grow, but not become {shown(now)}; "
                "start a new run (in a sweep, name another sweep by sweep.name=…)"
            )
        changed |= before != now
    return changed


def require_same_settings(config: DictConfig, stored: DictConfig, folder: RunFolder) -> None:
    """Raise an `OtherRunError` where the folder of a job was made with other settings."""
    config = config.copy()
    for key in FILLED:
        if OmegaConf.select(config, key) in (None, "auto") and OmegaConf.select(stored, key) is not None:
            OmegaConf.update(config, key, OmegaConf.select(stored, key))
    now, before, written = (
        dict(leaves(OmegaConf.to_container(each), split_lists=False)) for each in (resolved(config), stored, config)
    )
    places = [f"data.{setting}" for setting in PLACES.values()]  # the data themselves are compared
    # Settings that refer to others come last: the message is to name the setting that the user changed.
    for key in sorted(now.keys() & before.keys(), key=lambda key: "${" in str(written.get(key))):
        is_kept = key.split(".")[0] not in (*CHANGEABLE, "paths") and key not in places
        if is_kept and now[key] != before[key]:
            raise OtherRunError(
                f"{key}: {folder.path} was made with {shown(before[key])}, not {shown(now[key])}; name another sweep "
                "by sweep.name=…"
            )

"""A run as a row of a table: the settings that distinguish it, its status and its results."""

from collections.abc import Collection, Mapping
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from aevb.errors import ConfigError
from aevb.runs.folder import RunFolder
from aevb.runs.lock import is_locked

MEASURED = ("samples", "images_per_second")
REASON = "reason"
"""The column that says why a run has not finished."""


def overrides(run: RunFolder) -> dict[str, str]:
    """The overrides of a run's command, by key, without the name of its sweep; none of a run by `aevb.train`.

    Raises:
        ConfigError: they cannot be read.
    """
    given = {override.get_key_element(): override.get_value_element_as_str() for override in parsed_command(run)}
    return {key: value for key, value in given.items() if not key.startswith("sweep.")}


def parsed_command(run: RunFolder) -> list[Override]:
    """The overrides of a run's command as Hydra parses them; a ConfigError where they cannot be read."""
    try:
        return OverridesParser.create().parse_overrides(run.command() or [])
    except (HydraException, RecursionError) as error:
        raise ConfigError(f"{run.overrides_file} cannot be read: {error}") from error


def differing_keys(settings: Collection[Mapping[str, str]]) -> list[str]:
    """The keys whose values differ between runs, in the order in which they appear."""
    keys = dict.fromkeys(key for each in settings for key in each)
    return [key for key in keys if len({each.get(key) for each in settings}) > 1]


def status_columns(run: RunFolder) -> dict[str, Any]:
    """State, samples, metrics and speed of a run, and the reason why it has not finished."""
    try:
        status = run.status()
    except ConfigError as error:
        return {"state": "unusable", REASON: str(error)}
    state, reason = status["state"], status.get("error")
    if state == "running" and not is_locked(run.path):
        state, reason = "interrupted", "its process was killed"
    measured = {name: status.get(name) for name in MEASURED}
    return {"state": state, **measured, **status.get("results", {}), REASON: reason}

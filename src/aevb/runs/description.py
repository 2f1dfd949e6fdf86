"""Settings, progress and results of a run, for a row of a table."""

from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from aevb.errors import ConfigError
from aevb.runs.folder import RunFolder
from aevb.runs.lock import is_locked

MEASURED = ("samples", "images_per_second")
REASON = "reason"
"""The column that says why a run has not finished."""


def overrides(run: RunFolder) -> dict[str, str]:
    """The overrides of a run's command, by key.

    Raises:
        ConfigError: they cannot be read.
    """
    try:
        parsed = OverridesParser.create().parse_overrides(run.command())
        return {key.get_key_element(): key.get_value_element_as_str() for key in parsed}
    except (HydraException, RecursionError) as error:
        raise ConfigError(f"{run.overrides_file} cannot be read: {error}") from error


def describe(run: RunFolder) -> dict[str, Any]:
    """State, samples, metrics and speed of a run, and the reason where it has not finished."""
    try:
        status = run.status()
    except ConfigError as error:
        return {"state": "unusable", REASON: str(error)}
    state, reason = status["state"], status.get("error")
    if state == "running" and not is_locked(run.path):
        state, reason = "interrupted", "its process was killed"
    measured = {name: status.get(name) for name in MEASURED}
    return {"state": state, **measured, **status.get("results", {}), REASON: reason}

"""evaluation.json: results of estimators and tasks on a trained model.

    {"entries": [{"estimator": "importance_sampling", "split": "test", "limit": 1000, "settings": {…},
                  "value": −98.1, "standard_error": 0.01, …}],
     "tasks": [{"task": "latents", "split": "test", "limit": null, "settings": {…}, "results": {…}, …}]}

An entry of one member of a run of several seeds has its number, `member`. All values are in nats per datapoint.
`standard_error` is the noise of the estimator, `data_standard_error` that of the choice of datapoints.
"""

import json
import math
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import Field

from aevb.files import atomic_write
from aevb.runs.formats import File, Number, read_json

IDENTITY = ("estimator", "task", "member", "split", "limit", "settings")
"""The fields that identify an entry; a later entry replaces an earlier one with the same values."""


class Entry(File):
    """An estimate of an estimator, in nats per datapoint."""

    estimator: str = ""
    split: str = ""
    value: Number = None
    standard_error: Number = None


class Evaluation(File):
    """Types of the values in an evaluation.json."""

    entries: list[Entry] = Field(default_factory=list)
    tasks: list[dict[str, Any]] = Field(default_factory=list)


def read_evaluation(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Lists of `entries` and `tasks` of a run folder, empty where there is no file."""
    empty: dict[str, list[dict[str, Any]]] = {"entries": [], "tasks": []}
    file = folder / "evaluation.json"
    return empty | read_json(file, folder, Evaluation) if file.exists() else empty


def add_entry(folder: Path, kind: str, entry: dict[str, Any]) -> None:
    """Add an entry to the list `kind`, replacing an earlier one with the same identity."""
    entry = json.loads(json.dumps(finite(entry)))
    with FileLock(folder / ".evaluation.json.lock"):
        lists = read_evaluation(folder)
        kept = [old for old in lists[kind] if any(old.get(key) != entry.get(key) for key in IDENTITY)]
        lists[kind] = [*kept, entry]
        atomic_write(folder / "evaluation.json", json.dumps(lists, indent=2, ensure_ascii=False) + "\n")


def finite(value: Any) -> Any:
    """The value with None in place of infinite numbers and NaN, which JSON lacks."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

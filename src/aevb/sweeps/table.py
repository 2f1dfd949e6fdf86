"""The table of a sweep: a row for each of its jobs, the best first."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from omegaconf import OmegaConf

from aevb.errors import ConfigError
from aevb.runs.description import REASON, differing_keys, overrides, status_columns
from aevb.runs.folder import RunFolder
from aevb.runs.metrics import value_and_error, without_errors


def table(runs: Sequence[RunFolder], failures: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """A row for each run folder: `run`, the overrides that differ, `state`, metrics, speed and `reason`.

    A run whose process was killed is `interrupted`; one that cannot be read is `unusable`. Rows are sorted by the
    metric of the runs' configuration, highest first, rows without it last.

    Args:
        runs: Run folders.
        failures: Reasons of jobs that could not run, by the names of their folders, which need not exist.

    Returns:
        Rows with the same keys, in the order of the columns; None where a run has no such value.
    """
    settings = {run.path.name: readable_overrides(run) for run in runs}
    results = {run.path.name: status_columns(run) for run in runs}
    results |= {name: {"state": "unusable", REASON: reason} for name, reason in (failures or {}).items()}
    differing = differing_keys([overrides for overrides in settings.values() if overrides])
    columns = dict.fromkeys(column for values in results.values() for column in values if column != REASON)
    rows = [
        {"run": name}
        | {key: settings.get(name, {}).get(key) for key in differing}
        | {column: values.get(column) for column in (*columns, REASON)}
        for name, values in results.items()
    ]
    by = metric_of(runs)
    return sorted(rows, key=lambda row: row[by] if row.get(by) is not None else float("-inf"), reverse=True)


def metric_of(runs: Sequence[RunFolder]) -> str:
    """The metric of the first run whose configuration can be read."""
    for run in runs:
        with suppress(ConfigError):
            return str(OmegaConf.select(run.config(), "metric"))
    return "val/elbo"


def readable_overrides(run: RunFolder) -> dict[str, str]:
    """The overrides of a run's command; none where they cannot be read."""
    try:
        return overrides(run)
    except ConfigError:
        return {}


def as_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a table, numbers aligned right; below it a line for each run with a reason."""
    columns = [name for name in without_errors(rows[0] if rows else ()) if name not in ("run", REASON)]
    if len(columns) > 1 and columns[0] == "state":
        columns = ["run", *columns]  # no override tells the rows apart
    cells = [columns, *([value_and_error(row, name, cell) for name in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    is_number = [any(isinstance(row[name], int | float) for row in rows) for name in columns]
    lines = [
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, is_number, strict=True)
        ).rstrip()
        for line in cells
    ]
    return "\n".join([*lines, *(f"{row['state']}: {row['run']}: {row[REASON]}" for row in rows if row[REASON])])


def cell(value: Any) -> str:
    """A value as printed."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)

"""A table of runs: their differences, progress and results."""

from collections.abc import Sequence
from typing import Any

from aevb.reports.reading import Run
from aevb.runs.description import REASON, differing_keys, status_columns
from aevb.runs.metrics import ERROR

Row = dict[str, Any]

NOT_THE_EXPERIMENT = ("callbacks", "logger", "trainer", "paths", "allow", "resume", "hydra", "max_samples")
"""Roots of keys that do not define an experiment: how a run is logged, where it runs and for how long."""


def labels(runs: Sequence[Run], ignore: Sequence[str] = ()) -> dict[str, str]:
    """The overrides in which the runs differ, by the name of the run; without the keys in `ignore`, such as `seed`."""
    given = {
        run.name: {
            key: value
            for key, value in run.overrides.items()
            if key not in ignore and key.split(".")[0].split("/")[0] not in NOT_THE_EXPERIMENT
        }
        for run in runs
    }
    varying = differing_keys(given.values())
    names = {}
    for run in runs:
        parts = [f"{key}={given[run.name][key]}" for key in varying if key in given[run.name]]
        names[run.name] = " ".join(parts) or f"{run.data}, {run.objective}"
        if run.folder.command() is None:  # of `aevb.train`: no overrides say in what it differs from others
            names[run.name] += f", {run.folder.path.name}"
    return names


def table(runs: Sequence[Run]) -> list[Row]:
    """A row for each run, sorted by data set, then by the ELBO on test data, highest first."""
    names = labels(runs)
    rows = []
    for run in runs:
        status = status_columns(run.folder)
        reason = status.pop(REASON)
        validated = [value for _, value in run.metrics.get("val/elbo", [])]
        row: Row = {"data": run.data, "what": names[run.name], "seed": seeds_of(run), **status}
        row.setdefault("val/elbo", max(validated, default=None))
        for metric in ("test/elbo", "curve/train_elbo", "curve/test_elbo"):
            for name in (metric, f"{metric}{ERROR}"):
                row.setdefault(name, run.last(name))
        found = {name if name not in row else f"{name} (evaluate.py)": text for name, text in estimates(run).items()}
        explorers = sorted(map(str, run.folder.images.glob("*_explorer.html")))
        rows.append(row | found | {"explorer": next(reversed(explorers), None), "run": run.name, "reason": reason})
    worst = float("-inf")
    rows.sort(key=lambda row: (str(row["data"]), -(row["test/elbo"] or row["curve/test_elbo"] or worst)))
    names_of_columns = dict.fromkeys(name for row in rows for name in row)
    last = ("images_per_second", "explorer", "run", "reason")
    columns = [name for name in names_of_columns if name not in last] + list(last)
    columns = [name for name in columns if any(row.get(name) is not None for row in rows)]
    return [{name: row.get(name) for name in columns} for row in rows]


def seeds_of(run: Run) -> int | str:
    """The seed of a run, or the first and the last of several."""
    return run.seed if run.seeds == 1 else f"{run.seed} to {run.seed + run.seeds - 1}"


def estimates(run: Run) -> dict[str, str]:
    """Results of evaluate.py: value ± standard error (over seeds where there are several), by split and estimator.

    Those of earlier weights than the run has now, as after it continued, say after how many samples they were.
    """
    found, validated = {}, run.metrics.get("val/elbo")
    now = {"best": max(validated, key=lambda point: point[1])[0], "last": run.samples} if validated else {}
    for entry in run.evaluation:
        if isinstance(value := entry.get("value"), int | float):
            error = entry.get("member_standard_error", entry.get("standard_error"))
            text = f"{value:.2f}" + (f" ± {error:.2f}" if isinstance(error, int | float) else "")
            samples, current = entry.get("samples"), now.get(str(entry.get("checkpoint")))
            if current is not None and isinstance(samples, int) and samples != current:
                text += f" after {samples:,} samples"
            found[f"{entry.get('split', '')}/{entry.get('estimator', '')}"] = text
    return found

"""Runs side by side: in what they differ, how far they came, and what they reached."""

from collections.abc import Sequence

from aevb.reports.reading import Run

Row = dict[str, str | int | float | None]

NOT_THE_EXPERIMENT = ("callbacks", "logger", "trainer", "paths", "allow", "resume", "hydra", "max_samples")
"""Roots of keys that say how a run was watched, where it ran and for how long."""


def describe(runs: Sequence[Run], ignore: Sequence[str] = ()) -> dict[str, str]:
    """In what each run differs from the others: the overrides that not all share, by the name of the run.

    Args:
        runs: To be told apart.
        ignore: Keys that are left out, such as `seed`, to give runs of one group one description.
    """
    asked = {
        run.name: {
            key: value
            for key, value in run.overrides.items()
            if key not in ignore and key.split(".")[0].split("/")[0] not in NOT_THE_EXPERIMENT
        }
        for run in runs
    }
    keys = list(dict.fromkeys(key for overrides in asked.values() for key in overrides))
    varying = [key for key in keys if len({overrides.get(key) for overrides in asked.values()}) > 1]
    names = {}
    for run in runs:
        parts = [f"{key}={asked[run.name][key]}" for key in varying if key in asked[run.name]]
        names[run.name] = " ".join(parts) or f"{run.config.data._target_.rsplit('.', 1)[-1]}, {run.objective}"
    return names


def table(runs: Sequence[Run]) -> list[Row]:
    """A row for each run: by data set, then best first by the ELBO on test data."""
    names = describe(runs)
    estimators = list(dict.fromkeys(label for run in runs for label in estimates(run)))
    rows = []
    for run in runs:
        validated = [value for _, value in run.metrics.get("val/elbo", [])]
        row: Row = {
            "data": run.data,
            "what": names[run.name],
            "seed": run.seed,
            "state": str(run.status["state"]),
            "samples": run.samples,
            "val/elbo": run.last("val/elbo") if run.status.get("results") else max(validated, default=None),
            "test/elbo": run.last("test/elbo"),
            "test/kl": run.last("test/kl"),
            "test/bits_per_dim": run.last("test/bits_per_dim"),
            "curve/train_elbo": run.last("curve/train_elbo"),
            "curve/test_elbo": run.last("curve/test_elbo"),
            **{label: estimates(run).get(label) for label in estimators},
            "images_per_second": speed(run),
            "run": run.name,
            "error": run.status.get("error"),
        }
        rows.append(row)
    worst = float("-inf")
    rows.sort(key=lambda row: (str(row["data"]), -float(row["test/elbo"] or row["curve/test_elbo"] or worst)))
    empty = {key for key in rows[0] if all(row[key] is None for row in rows)} if rows else set()
    return [{key: value for key, value in row.items() if key not in empty} for row in rows]


def estimates(run: Run) -> dict[str, str]:
    """What evaluate.py found: value ± standard error, by split and estimator."""
    found = {}
    for entry in run.evaluation:
        if isinstance(value := entry.get("value"), int | float):
            error = entry.get("standard_error")
            text = f"{value:.2f}" + (f" ± {error:.2f}" if isinstance(error, int | float) else "")
            found[f"{entry.get('split', '')}/{entry.get('estimator', '')}"] = text
    return found


def speed(run: Run) -> int | None:
    """Images per second of training: the median over its intervals."""
    values = sorted(value for _, value in run.metrics.get("train/images_per_second", []))
    return round(values[len(values) // 2]) if values else None

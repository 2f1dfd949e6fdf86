"""Results of an evaluation: entries of evaluation.json, printed tables, and pictures."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import get_console
from rich.box import SIMPLE_HEAD
from rich.table import Table
from torch import Tensor

from aevb import plots
from aevb.console import show
from aevb.estimators import Estimates, Estimator
from aevb.files import atomic_write
from aevb.likelihoods import Likelihood
from aevb.runs.folder import RunFolder
from aevb.runs.status import now
from aevb.tasks import TaskResult

SHORT = {
    "effective_sample_size": "ESS",
    "acceptance": "accept.",
    "bits_per_dim": "bits/dim",
    "value_per_step": "per step",
    "seconds": "time",
}
"""Short column heads."""


def entry_of(
    about: dict[str, Any],
    estimator: Estimator,
    estimates: Estimates,
    likelihood: Likelihood,
    seconds: float,
    c: Tensor | None = None,
) -> dict[str, Any]:
    """The entry of an estimator: its value in nats per datapoint, standard errors, diagnostics and settings.

    c are the conditions of the datapoints, of which a sequence's length is one.
    """
    entry = {
        **about,
        "datapoints": len(estimates.value),
        "value": estimates.mean,
        "standard_error": estimates.standard_error,
        "data_standard_error": estimates.data_standard_error,
        "diagnostics": {name: float(values.mean()) for name, values in estimates.diagnostics.items()},
        "warnings": estimator.warnings(estimates),
        "seconds": seconds,
        "date": now(),
    }
    count = len(estimates.value)
    per_value = estimates.mean * count / float(likelihood.num_values(count, c))
    if likelihood.discrete:
        entry["bits_per_dim"] = -per_value / math.log(2)
    if likelihood.values_per_step is not None:
        entry["value_per_step"] = per_value * likelihood.values_per_step
    return entry


def print_entries(folder: Path, entries: Sequence[dict[str, Any]]) -> None:
    """Print a table of estimators, and their warnings below it."""
    split, count = entries[0]["split"], entries[0]["datapoints"]
    title = f"log p(x) in nats per datapoint, {count:,} of {split}, after {entries[0]['samples']:,} samples"
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("estimator", no_wrap=True)
    others = list(dict.fromkeys(name for entry in entries for name in entry["diagnostics"]))
    others = [name for name in ("value_per_step", "bits_per_dim") if name in entries[0]] + others
    for column in ("value", "± noise", "± data", *others, "seconds"):
        table.add_column(SHORT.get(column, column), justify="right", no_wrap=True)
    for entry in entries:
        values = (f"{entry['value']:.3f}", f"{entry['standard_error']:.3f}", f"{entry['data_standard_error']:.2f}")
        known = entry["diagnostics"] | entry
        table.add_row(
            entry["estimator"], *values, *(number(known.get(name)) for name in others), f"{entry['seconds']:.0f} s"
        )
    show(f"\n{folder}\n{title}\n", "bold")
    get_console().print(table)
    for entry in entries:
        for warning in entry["warnings"]:
            show(f"warning: {entry['estimator']}: {warning}")


def number(value: float | None) -> str:
    """Three decimals below a hundred, none above; "" for None."""
    return "" if value is None else f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"


def save_pictures(folder: RunFolder, samples: int, task: str, result: TaskResult) -> list[str]:
    """Write pictures and pages to `images/<samples>_<task>_<what>.…`; returns their paths in the run folder."""
    folder.images.mkdir(exist_ok=True)
    names = []
    for kind, files in ((".png", result.pictures), (".html", result.pages)):
        for what, content in files.items():
            path = folder.images / ("_".join(filter(None, [f"{samples:09d}", task, what])) + kind)
            atomic_write(path, content) if isinstance(content, str) else plots.save(content, path)
            names.append(str(path.relative_to(folder.path)))
    return names


def print_entry(folder: Path, entry: dict[str, Any]) -> None:
    """Print the results of a task: numbers, sentences, and paths of pictures."""
    show(f"\n{folder}: {entry['task']}, {entry['datapoints']:,} of {entry['split']}", "bold")
    for name, value in entry["results"].items():
        if isinstance(value, int | float):
            show(f"  {name.replace('_', ' ')}: {f'{value:,}' if isinstance(value, int) else f'{value:.4g}'}")
    for line in (*entry["words"], *(folder / picture for picture in entry["pictures"])):
        show(f"  {line}")

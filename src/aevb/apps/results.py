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
from aevb.estimators.gaps import gaps_of, in_words
from aevb.files import atomic_write
from aevb.likelihoods import Likelihood
from aevb.runs.folder import RunFolder
from aevb.runs.metrics import ERROR, over_members, value_and_error, without_errors
from aevb.runs.status import now
from aevb.tasks import TaskResult

SHORT = {
    "effective_sample_size": "ESS",
    "acceptance": "accept.",
    "last_rise": "rise",
    "bits_per_dim": "bits/dim",
    "value_per_step": "per step",
    "seconds": "time",
}
"""Short column heads."""


def entry_of(
    about: dict[str, Any],
    estimator: Estimator,
    found: Sequence[Estimates],
    likelihood: Likelihood,
    seconds: float,
    c: Tensor | None = None,
) -> dict[str, Any]:
    """The entry of an estimator: its value in nats per datapoint, standard errors, diagnostics and settings.

    With the estimates of several members, these are those of their mean; `members` has the value of each, and
    `member_standard_error` is the standard error of the mean over members.

    c are the conditions of the datapoints, of which a sequence's length is one.
    """
    estimates = Estimates.mean_of(found)
    warnings = [(number, warning) for number, each in enumerate(found) for warning in estimator.warnings(each)]
    entry = {
        **about,
        "datapoints": len(estimates.value),
        "value": estimates.mean,
        "standard_error": estimates.standard_error,
        "data_standard_error": estimates.data_standard_error,
        "diagnostics": {name: float(values.mean()) for name, values in estimates.diagnostics.items()},
        "warnings": [f"member {number}: {text}" if len(found) > 1 else text for number, text in warnings],
        "seconds": seconds,
        "date": now(),
    }
    count = len(estimates.value)
    per_value = estimates.mean * count / float(likelihood.num_values(count, c))
    if likelihood.discrete:
        entry["bits_per_dim"] = -per_value / math.log(2)
    if likelihood.values_per_step is not None:
        entry["value_per_step"] = per_value * likelihood.values_per_step
    if len(found) > 1:
        entry["members"] = [each.mean for each in found]
        entry["member_standard_error"] = over_members({"value": entry["members"]})[f"value{ERROR}"]
    return entry


def results_of_members(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The results of a task; of several members the means and standard errors of numbers, and the rest of the first."""
    if len(found) == 1:
        return found[0]
    numbers = [name for name in found[0] if all(type(each.get(name)) in (int, float) for each in found)]
    statistics = over_members({name: [each[name] for each in found] for name in numbers})
    return statistics | {name: value for name, value in found[0].items() if name not in numbers}


def print_entries(folder: Path, entries: Sequence[dict[str, Any]], quantity: str) -> None:
    """Print a table of estimators of a quantity, and their warnings below it."""
    split, count = entries[0]["split"], entries[0]["datapoints"]
    title = f"{quantity} in nats per datapoint, {count:,} of {split}, after {entries[0]['samples']:,} samples"
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("estimator", no_wrap=True)
    others = list(dict.fromkeys(name for entry in entries for name in entry["diagnostics"]))
    others = [name for name in ("value_per_step", "bits_per_dim") if name in entries[0]] + others
    errors = {"± seeds": "member_standard_error"} if "members" in entries[0] else {}
    errors |= {"± noise": "standard_error", "± data": "data_standard_error"}
    for column in ("value", *errors, *others, "seconds"):
        table.add_column(SHORT.get(column, column), justify="right", no_wrap=True)
    for entry in entries:
        values = [f"{entry['value']:.3f}", *(f"{entry[name]:.3f}" for name in errors.values())]
        known = entry["diagnostics"] | entry
        table.add_row(
            entry["estimator"], *values, *(number(known.get(name)) for name in others), f"{entry['seconds']:.0f} s"
        )
    show(f"\n{folder}{member_of(entries[0])}\n{title}\n", "bold")
    get_console().print(table)
    if (gaps := gaps_of(entries)) is not None:
        show(in_words(gaps))
    for entry in entries:
        for warning in entry["warnings"]:
            show(f"warning: {entry['estimator']}: {warning}")


def member_of(entry: dict[str, Any]) -> str:
    """Which member an entry is of, if it is of one among several."""
    return "" if entry.get("member") is None else f", member {entry['member']}"


def number(value: float | None) -> str:
    """Three decimals below a hundred, none above; "" for None."""
    return "" if value is None else f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"


def short(value: float) -> str:
    """A whole number, or four digits."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def save_pictures(folder: RunFolder, samples: int, task: str, result: TaskResult) -> list[str]:
    """Write pictures, pages and files to `images/<samples>_<task>_<what>.…`; returns their paths in the folder."""
    folder.images.mkdir(exist_ok=True)
    names = []
    kinds = {
        ".png": result.pictures,
        ".html": result.pages,
        ".gif": result.animations,
        ".bitsback": result.archives,
        ".mid": result.midi,
    }
    for kind, files in kinds.items():
        for what, content in files.items():
            path = folder.images / ("_".join(filter(None, [f"{samples:09d}", task, what])) + kind)
            atomic_write(path, content) if isinstance(content, str | bytes) else plots.save(content, path)
            names.append(str(path.relative_to(folder.path)))
    return names


def print_entry(folder: Path, entry: dict[str, Any]) -> None:
    """Print the results of a task: numbers, sentences, and paths of pictures."""
    show(f"\n{folder}{member_of(entry)}: {entry['task']}, {entry['datapoints']:,} of {entry['split']}", "bold")
    results = entry["results"]
    for name in without_errors(results):
        if isinstance(results[name], int | float):
            show(f"  {name.replace('_', ' ')}: {value_and_error(results, name, short)}")
    if len(without_errors(results)) < len(results):
        show("  (means over members ± standard errors; what follows is of the first)")
    for line in (*entry["words"], *(folder / picture for picture in entry["pictures"])):
        show(f"  {line}")

"""What a person sees of an evaluation, and its entry in evaluation.json."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL.Image import Image
from rich import get_console
from rich.box import SIMPLE_HEAD
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from aevb import plots
from aevb.errors import printable
from aevb.estimators import Estimates, Estimator
from aevb.likelihoods import Likelihood
from aevb.runs.folder import RunFolder
from aevb.runs.status import now

SHORT = {"effective_sample_size": "ESS", "acceptance": "accept.", "bits_per_dim": "bits/dim", "seconds": "time"}
"""Column heads."""


def entry_of(
    about: dict[str, Any], estimator: Estimator, found: Estimates, likelihood: Likelihood, seconds: float
) -> dict[str, Any]:
    """The entry of an estimator: its value in nats per datapoint, how sure it is, and how it came about."""
    entry = {
        **about,
        "datapoints": len(found.value),
        "value": found.mean,
        "standard_error": found.standard_error,
        "data_standard_error": found.data_standard_error,
        "diagnostics": {name: float(values.mean()) for name, values in found.diagnostics.items()},
        "warnings": estimator.warnings(found),
        "seconds": seconds,
        "date": now(),
    }
    if likelihood.discrete:
        entry["bits_per_dim"] = -found.mean / (math.log(2) * math.prod(likelihood.data_shape))
    return entry


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar, where there is a terminal; yields what is to be called with the number of datapoints done."""
    console = get_console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


def print_entries(folder: Path, entries: Sequence[dict[str, Any]]) -> None:
    """A table of estimators against each other, and below it why some should not be trusted."""
    split, count = entries[0]["split"], entries[0]["datapoints"]
    title = f"log p(x) in nats per datapoint, {count:,} of {split}, after {entries[0]['samples']:,} samples"
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("estimator", no_wrap=True)
    for column in ("value", "± noise", "± data", *measured(entries), "seconds"):
        table.add_column(SHORT.get(column, column), justify="right", no_wrap=True)
    for entry in entries:
        others = [format_number(value_of(entry, name)) for name in measured(entries)]
        values = (f"{entry['value']:.3f}", f"{entry['standard_error']:.3f}", f"{entry['data_standard_error']:.2f}")
        table.add_row(entry["estimator"], *values, *others, f"{entry['seconds']:.0f} s")
    console = get_console()
    console.print(Text(printable(f"\n{folder}\n{title}\n"), "bold"), soft_wrap=True)
    console.print(table)
    for entry in entries:
        for warning in entry["warnings"]:
            console.print(Text(f"warning: {entry['estimator']}: {warning}"), soft_wrap=True)


def measured(entries: Sequence[dict[str, Any]]) -> list[str]:
    """Names of what any of the entries has beside its value."""
    names = dict.fromkeys(name for entry in entries for name in entry["diagnostics"])
    return [*(["bits_per_dim"] if any("bits_per_dim" in entry for entry in entries) else []), *names]


def value_of(entry: dict[str, Any], name: str) -> float | None:
    """What an entry has under a name of `measured`."""
    value: float | None = entry.get(name, entry["diagnostics"].get(name))
    return value


def format_number(value: float | None) -> str:
    """Whole, or with three decimals below ten; nothing for None."""
    return "" if value is None else f"{value:.3f}" if abs(value) < 10 else f"{value:,.0f}"


def save_pictures(folder: RunFolder, samples: int, task: str, pictures: dict[str, Image | Figure]) -> list[str]:
    """Write pictures to `images/<samples>_<task>_<what>.png` of the run folder; returns their paths in it."""
    folder.images.mkdir(exist_ok=True)
    names = []
    for what, picture in pictures.items():
        path = folder.images / ("_".join(filter(None, [f"{samples:09d}", task, what])) + ".png")
        plots.save(picture, path)
        names.append(str(path.relative_to(folder.path)))
    return names


def print_findings(folder: Path, entry: dict[str, Any]) -> None:
    """What a task found: its numbers, then in words, then where the pictures are."""
    console = get_console()
    console.print(
        Text(printable(f"\n{folder}: {entry['task']}, {entry['datapoints']:,} of {entry['split']}"), "bold"),
        soft_wrap=True,
    )
    for name, value in entry["results"].items():
        if isinstance(value, int | float):
            shown = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
            console.print(Text(f"  {name.replace('_', ' ')}: {shown}"))
    for sentence in [*entry["words"], *(str(folder / picture) for picture in entry["pictures"])]:
        console.print(Text(printable(f"  {sentence}")), soft_wrap=True)

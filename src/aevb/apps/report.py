"""`report.py`: figures, tables and one page from run folders."""

import datetime
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from aevb import reports
from aevb.console import show
from aevb.errors import ConfigError
from aevb.files import require_writable
from aevb.reports import Item, Run, Skipped
from aevb.settings import validate


def report(config: DictConfig) -> Path:
    """Write the report, print its path and the runs that were skipped, and return the path."""
    validate(config, "report")
    patterns, metrics = as_list(config.runs), as_list(config.metrics)
    require_writable(Path(config.output), "output")
    runs, skipped = reports.find(patterns)
    show_skipped(skipped)
    if not runs:
        raise ConfigError(f"runs: there is no run in {', '.join(patterns)}; name run folders, or folders of runs")
    items, unloadable = make(config.parts, runs, metrics, config.allow)
    show_skipped(unloadable)
    count = f"{len(runs)} run{'s' if len(runs) > 1 else ''}"
    now = datetime.datetime.now().astimezone().isoformat(" ", "minutes")
    note = f"{count}, read on {now}. All values are in nats per datapoint."
    try:
        page = reports.write_page(Path(config.output), str(config.title), note, items, [*skipped, *unloadable])
    except OSError as error:
        raise ConfigError(f"output: {config.output} cannot be written: {error.strerror or error}") from error
    show(f"report on {count}: {page}")
    return page


def as_list(value: str | Sequence[str]) -> list[str]:
    """A text or a list of texts as a list."""
    return [value] if isinstance(value, str) else list(value)


def show_skipped(skipped: Sequence[Skipped]) -> None:
    """Print the runs that are not in the report, with the reason."""
    for path, reason in skipped:
        show(f"skipped {path}: {reason}")


def make(
    parts: Sequence[str], runs: Sequence[Run], metrics: Sequence[str], allow: Sequence[str]
) -> tuple[list[Item], list[Skipped]]:
    """The parts for which there are data, and the runs whose models cannot be loaded."""
    items: list[Item | None] = []
    skipped: list[Skipped] = []
    for part in parts:
        if part == "table":
            caption = "Sorted by the ELBO on test data, highest first; empty: not measured yet."
            items.append(Item("table", "Runs", caption, rows=reports.table(runs), show_rows=True))
        elif part == "learning_curves":
            items.append(reports.learning_curves(runs, metrics))
        elif part in ("figure2", "figure3"):
            curves = (reports.bound if part == "figure2" else reports.marginal_likelihood)(runs)
            items += [] if curves is None else [curves, reports.numbers(curves)]
        elif part == "gaps":
            from aevb.reports.gaps import inference_gaps  # torch, which tables do without

            items.append(inference_gaps(runs))
        else:
            from aevb.reports.samples import manifolds, prior_samples  # torch and Lightning

            item, unloadable = (manifolds if part == "figure4" else prior_samples)(runs, allow)
            items.append(item)
            skipped += unloadable
    return [item for item in items if item is not None], skipped

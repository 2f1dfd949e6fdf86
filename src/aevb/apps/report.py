"""`report.py`: run folders in, figures, tables and one page out."""

import datetime
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, ListConfig
from rich import get_console

from aevb import reports
from aevb.errors import ConfigError, printable
from aevb.files import require_writable
from aevb.reports import Item, Run, Skipped
from aevb.settings import validate


def report(config: DictConfig) -> Path:
    """Write the report, say where it is and what was skipped, and return the page.

    Raises:
        ConfigError: a setting makes no sense, or there is no run.
    """
    validate(config, "report")
    patterns = strings(config, "runs")
    parts = strings(config, "parts")
    require_writable(Path(config.output), "output")
    runs, skipped = reports.find(patterns)
    console = get_console()
    for path, reason in skipped:
        console.print(printable(f"skipped {path}: {reason}"), soft_wrap=True, markup=False, highlight=False)
    if not runs:
        raise ConfigError(f"runs: there is no run in {', '.join(patterns)}; name run folders, or folders of runs")
    items, unloadable = make(parts, runs, strings(config, "metrics"), strings(config, "allow"))
    for path, reason in unloadable:
        console.print(printable(f"skipped {path}: {reason}"), soft_wrap=True, markup=False, highlight=False)
    now = datetime.datetime.now().astimezone().isoformat(" ", "minutes")
    note = f"{len(runs)} run{'s' if len(runs) > 1 else ''}, read on {now}. All values are in nats per datapoint."
    try:
        page = reports.write_page(Path(config.output), str(config.title), note, items, [*skipped, *unloadable])
    except OSError as error:
        raise ConfigError(f"output: {config.output} cannot be written: {error.strerror or error}") from error
    console.print(
        printable(f"report on {len(runs)} run{'s' if len(runs) > 1 else ''}: {page}"),
        soft_wrap=True,
        markup=False,
        highlight=False,
    )
    return page


def strings(config: DictConfig, key: str) -> list[str]:
    """A setting that is a string or a list of strings.

    Raises:
        ConfigError: it is something else.
    """
    if key not in config or config._get_node(key) is None or config[key] is None:
        raise ConfigError(f"{key} must be a string or a list of strings, got null")
    value = config[key]
    return [str(item) for item in value] if isinstance(value, ListConfig) else [str(value)]


def make(
    parts: Sequence[str], runs: Sequence[Run], metrics: Sequence[str], allow: Sequence[str]
) -> tuple[list[Item], list[Skipped]]:
    """The parts that the runs have data for, and runs whose models cannot be loaded."""
    items: list[Item | None] = []
    skipped: list[Skipped] = []
    for part in parts:
        if part == "table":
            caption = "Best first by the ELBO on test data; empty: not measured yet."
            items.append(Item("table", "Runs", caption, rows=reports.table(runs), show_rows=True))
        elif part == "learning_curves":
            items.append(reports.learning_curves(runs, metrics))
        elif part in ("figure2", "figure3"):
            curves = (reports.bound if part == "figure2" else reports.marginal_likelihood)(runs)
            items += [] if curves is None else [curves, reports.numbers(curves)]
        else:
            item, unloadable = (reports.manifolds if part == "figure4" else reports.prior_samples)(runs, allow)
            items.append(item)
            skipped += unloadable
    return [item for item in items if item is not None], skipped

"""Curves against training samples: metrics of runs, and figures 2 and 3 of the paper."""

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, product
from typing import Any, TypeVar

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aevb.reports.reading import Run, Statistics
from aevb.reports.table import Row, labels
from aevb.runs.metrics import ERROR

Panel = tuple[Row, str, Sequence[Run]]
"""The columns that identify a panel in the data, its title, and its runs."""

T = TypeVar("T")
Key = TypeVar("Key", bound=Hashable)

METHODS = {"SGVB": "AEVB", "WakeSleep": "Wake-Sleep", "MonteCarloEM": "MCEM"}
"""Names of the objectives in the paper."""
DATA = {"FreyFace": "Frey Face"}
COLOURS = {"AEVB": "tab:red", "Wake-Sleep": "tab:green", "MCEM": "tab:blue"}
MAX_LEGEND = 30
"""Maximum number of curves in a legend."""
AGAINST = "against the number of training samples evaluated, on training data (solid) and test data (dashed)"
DASHES = {"train": "-", "test": "--"}
LINE = ("runs", "method", "split")
"""Columns that identify a line; those of its points are `Statistics`, the others identify the panel."""


@dataclass
class Item:
    """One part of a report."""

    name: str
    """Stem of its file names."""
    title: str
    caption: str
    figure: Figure | None = None
    rows: list[Row] = field(default_factory=list)
    """The content of the CSV file."""
    show_rows: bool = False
    """Whether the page also shows the rows."""


def over_seeds(curves: Iterable[Sequence[Statistics]]) -> list[Statistics]:
    """The statistics over the seeds of all curves, at each number of samples at which at least one has a value."""
    return [pooled(parts) for _, parts in sorted(grouped(chain(*curves), lambda at: at.samples).items())]


def pooled(parts: Sequence[Statistics]) -> Statistics:
    """The statistics of sets of seeds together.

    N = Σ n_i, m = Σ n_i m_i / N and (N − 1) s² = Σ (n_i − 1) s_i² + n_i (m_i − m)².
    """
    seeds = sum(part.seeds for part in parts)
    mean = sum(part.seeds * part.mean for part in parts) / seeds
    squares = sum((part.seeds - 1) * part.deviation**2 + part.seeds * (part.mean - mean) ** 2 for part in parts)
    return Statistics(parts[0].samples, mean, math.sqrt(squares / (seeds - 1)) if seeds > 1 else 0.0, seeds)


def grouped(items: Iterable[T], key: Callable[[T], Key]) -> dict[Key, list[T]]:
    """The items by key, in the order in which the keys appear."""
    groups: dict[Key, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def by_panel(rows: Iterable[Row]) -> dict[tuple[tuple[str, Any], ...], list[Row]]:
    """The data of curves by the names and values of the columns that identify a panel."""
    return grouped(rows, lambda row: tuple((k, row[k]) for k in row if k not in (*LINE, *Statistics._fields)))


def draw(axes: Axes, curve: Sequence[Statistics], label: str, **style: Any) -> None:
    """Draw a curve with a band of one standard deviation on both sides of the mean."""
    x, mean = [at.samples for at in curve], [at.mean for at in curve]
    marker = "." if len(x) == 1 else ""
    (line,) = axes.plot(x, mean, label=literal(label), linewidth=1.3, marker=marker, **style)
    if any(at.seeds > 1 for at in curve):
        low, high = ([at.mean + sign * at.deviation for at in curve] for sign in (-1, 1))
        axes.fill_between(x, low, high, color=line.get_color(), alpha=0.2, linewidth=0)


def literal(text: str, longest: int = 80) -> str:
    """A text for matplotlib, cut at a length, in which $ starts no formula."""
    return (text if len(text) <= longest else f"{text[:longest]} …").replace("$", r"\$")


def learning_curves(runs: Sequence[Run], metrics: Sequence[str]) -> Item | None:
    """The metrics of all runs against samples: a row for each metric, a column for each data set."""
    runs = [run for run in runs if any(metric in run.metrics for metric in metrics)]
    if not runs:
        return None
    names = labels(runs, ignore=("seed", "seeds"))
    data = list(grouped(runs, lambda run: run.data))
    shown = list(dict.fromkeys(names[run.name] for run in runs))
    palette = colormaps["tab10" if len(shown) <= 10 else "turbo"]
    colours = {label: palette(i if len(shown) <= 10 else i / (len(shown) - 1)) for i, label in enumerate(shown)}
    figure = Figure(figsize=(max(7, 5.5 * len(data)), 3.8 * len(metrics)), dpi=110, layout="constrained")
    panels = figure.subplots(len(metrics), len(data), squeeze=False)
    rows: list[Row] = []
    for (i, metric), (j, name) in product(enumerate(metrics), enumerate(data)):
        axes = panels[i][j]
        chosen = [run for run in runs if run.data == name and metric in run.metrics]
        for label, group in grouped(chosen, lambda run: names[run.name]).items():
            curve = over_seeds(run.curve(metric) for run in group)
            draw(axes, curve, label, color=colours[label])
            rows += [{"data": name, "runs": label, "metric": metric, **at._asdict()} for at in curve]
        axes.set(xscale="log", xlabel="training samples", ylabel=literal(metric), title=DATA.get(name, name))
        axes.grid(alpha=0.3)
        focus(axes, [row for row in rows if row["data"] == name and row["metric"] == metric])
    legend(figure, panels.flat)
    seeds = any(row["seeds"] > 1 for row in rows)
    caption = "Nats per datapoint against training samples." + (
        " Means over seeds, with a band of one standard deviation." if seeds else ""
    )
    return Item("learning_curves", "Learning curves", caption, figure, rows)


def focus(axes: Axes, rows: Sequence[Row]) -> None:
    """Fit the vertical range to the last nine tenths of the samples, leaving out the steep start."""
    end = max((row["samples"] for row in rows), default=0)
    shown = [row["mean"] for row in rows if row["samples"] >= end / 10]
    if shown and min(shown) < max(shown):
        margin = 0.1 * (max(shown) - min(shown))
        axes.set_ylim(min(shown) - 3 * margin, max(shown) + margin)


def bound(runs: Sequence[Run]) -> Item | None:
    """Figure 2: the lower bound on training and test data, a row for each data set, a panel for each N_z."""
    chosen = [run for run in runs if "curve/test_elbo" in run.metrics]
    lines: list[list[Panel]] = [
        [
            ({"data": data, "latent_dim": latent_dim}, f"{DATA.get(data, data)}, $N_z$ = {latent_dim}", panel)
            for latent_dim, panel in sorted(grouped(group, lambda run: run.latent_dim).items())
        ]
        for data, group in grouped(chosen, lambda run: run.data).items()
    ]
    if not lines:
        return None
    figure, rows = draw_panels(lines, "elbo", "$\\mathcal{L}$, nats per datapoint", 3.0, 3.1)
    caption = f"The lower bound {AGAINST}: figure 2 of Kingma & Welling (2013)."
    return Item("figure2", "Figure 2: the lower bound", caption, figure, rows)


def marginal_likelihood(runs: Sequence[Run]) -> Item | None:
    """Figure 3: the estimated marginal likelihood, a panel for each N_train."""
    chosen = [run for run in runs if "curve/test_log_marginal" in run.metrics]
    line: list[Panel] = [
        ({"train_size": size or None}, f"$N_{{train}}$ = {size:,}" if size else "all training data", panel)
        for size, panel in sorted(grouped(chosen, lambda run: run.train_size or 0).items())
    ]
    if not line:
        return None
    figure, rows = draw_panels([line], "log_marginal", "marginal log-likelihood, nats", 4.2, 3.3)
    caption = f"The estimated marginal log-likelihood {AGAINST}: figure 3 of Kingma & Welling (2013)."
    return Item("figure3", "Figure 3: the marginal likelihood", caption, figure, rows)


def draw_panels(
    lines: Sequence[Sequence[Panel]], what: str, ylabel: str, width: float, height: float
) -> tuple[Figure, list[Row]]:
    """A figure of rows of panels, each of a width and a height in inches, and the data of its curves."""
    columns = max(map(len, lines))
    size = (width * columns + 0.6, height * len(lines) + 0.4)
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    grid = figure.subplots(len(lines), columns, squeeze=False, sharey="row")
    rows: list[Row] = []
    colours = dict(COLOURS)
    for all_axes, line in zip(grid, lines, strict=True):
        found: list[Row] = []
        for axes, (where, title, runs) in zip(all_axes, line, strict=False):
            found += draw_panel(axes, runs, what, where, colours)
            axes.set_title(title, fontsize="medium")
        for axes in all_axes[len(line) :]:
            axes.set_axis_off()
        all_axes[0].set_ylabel(ylabel)
        focus(all_axes[0], found)
        rows += found
    legend(figure, grid.flat)
    return figure, rows


def numbers(item: Item) -> Item:
    """The curves of a figure as a table, at the last number of samples that all curves of a panel share."""
    found: list[Row] = []
    for where, rows in by_panel(item.rows).items():
        curves = {
            f"{method} ({split})": {row["samples"]: row for row in curve}
            for (method, split), curve in grouped(rows, lambda row: (row["method"], row["split"])).items()
        }
        common = set.intersection(*(set(curve) for curve in curves.values()))
        if common:
            end = max(common)
            values: Row = {name: curve[end]["mean"] for name, curve in curves.items()}
            errors: Row = {
                f"{name}{ERROR}": float(at["deviation"] or 0) / int(at["seeds"] or 1) ** 0.5
                for name, at in ((name, curve[end]) for name, curve in curves.items())
                if at["seeds"] != 1
            }
            found.append(dict(where) | {"samples": end} | values | errors)
    caption = "At the last number of training samples that all curves of a panel share; ± standard errors over seeds."
    return Item(f"{item.name}_numbers", f"{item.title}, in numbers", caption, rows=found, show_rows=True)


def draw_panel(axes: Axes, runs: Sequence[Run], what: str, where: Row, colours: dict[str, str]) -> list[Row]:
    """Draw `curve/train_<what>` and `curve/test_<what>` of each method, and return their data.

    A method whose runs differ in more than their seeds has a line for each of its settings. `colours` of lines by their
    names, to which new ones are added, are those of all panels.
    """
    rows: list[Row] = []
    for objective, group in grouped(runs, lambda run: run.objective).items():
        method = METHODS.get(objective, objective)
        names = labels(group, ignore=("seed", "seeds", "objective", "model.latent_dim"))
        for label in dict.fromkeys(names.values()):
            same = [run for run in group if names[run.name] == label]
            name = method if len(same) == len(group) else f"{method}, {label}"
            colour = colours.setdefault(name, f"C{4 + len(colours) - len(COLOURS)}")
            for split, dashes in DASHES.items():
                curve = over_seeds(run.curve(f"curve/{split}_{what}") for run in same)
                draw(axes, curve, f"{name} ({split})", linestyle=dashes, color=colour)
                rows += [where | {"method": name, "split": split} | at._asdict() for at in curve]
    first, end = min(row["samples"] for row in rows), max(row["samples"] for row in rows)
    axes.set(xscale="log", xlabel="# training samples evaluated", xlim=(1e5 if end > 1e6 else first, None))
    axes.grid(alpha=0.3)
    return rows


def legend(figure: Figure, panels: Iterable[Axes]) -> None:
    """Add a legend for all panels below them; the figure grows by its height, so that panels keep theirs."""
    lines = {str(line.get_label()): line for axes in panels for line in axes.get_lines()}
    shown = dict(list(lines.items())[:MAX_LEGEND])
    more = len(lines) - len(shown)
    longest = max(map(len, shown), default=0)
    columns = max(1, min(len(shown), int(figure.get_figwidth() / (0.085 * longest + 0.6))))
    figure.set_figheight(figure.get_figheight() + 0.2 * math.ceil(len(shown) / columns))
    figure.legend(
        list(shown.values()),
        list(shown),
        loc="outside lower center",
        fontsize="small",
        ncols=columns,
        title=f"{more} more curves are named in the CSV file" if more else None,
        title_fontsize="small",
    )

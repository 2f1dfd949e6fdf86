"""The gap between log p(x) and the ELBO of each run, split in two."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from aevb.estimators.gaps import Gaps, gaps_of
from aevb.reports.figures import Item
from aevb.reports.reading import Run
from aevb.reports.table import Row, labels


def inference_gaps(runs: Sequence[Run]) -> Item | None:
    """Bars of the approximation and the amortization gap, for the runs that `local_elbo` has been applied to."""
    found = [(run, gaps) for run in runs if (gaps := gaps_of(run.evaluation)) is not None]
    if not found:
        return None
    labelled = labels([run for run, _ in found])
    names = [labelled[run.name] for run, _ in found]
    rows: list[Row] = [{"run": name, **columns(gaps)} for name, (_, gaps) in zip(names, found, strict=True)]
    caption = (
        "log p(x) − ELBO, split in the approximation gap, log p(x) − local ELBO, and the amortization gap, "
        "local ELBO − ELBO (Cremer, Li & Duvenaud 2018); lines: one standard error. log p(x) is a lower bound, too."
    )
    figure = draw(names, [gaps for _, gaps in found])
    return Item("gaps", "Approximation and amortization gap", caption, figure, rows, show_rows=True)


def columns(gaps: Gaps) -> dict[str, float]:
    """The numbers of a row."""
    both = gaps._asdict().items()
    return {name: gap.value for name, gap in both} | {f"{name}_error": gap.standard_error for name, gap in both}


def draw(names: Sequence[str], found: Sequence[Gaps]) -> Figure:
    """Stacked bars, one for each run."""
    figure = Figure(figsize=(6.5, 1.2 + 0.4 * len(found)), dpi=110, layout="constrained")
    axes = figure.subplots()
    left = [0.0] * len(found)
    for kind in Gaps._fields:
        gaps = [getattr(gaps, kind) for gaps in found]
        widths, errors = [gap.value for gap in gaps], [gap.standard_error for gap in gaps]
        axes.barh(range(len(found)), widths, left=left, xerr=errors, label=f"{kind} gap", height=0.6)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.set_yticks(range(len(found)), names)
    axes.invert_yaxis()
    axes.set_xlabel("nats per datapoint")
    figure.legend(loc="outside lower center", fontsize="small", ncols=2)
    return figure

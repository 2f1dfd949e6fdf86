"""The files of a report: each part as PNG, SVG and CSV, and one self-contained page."""

import base64
import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aevb import pages
from aevb.files import atomic_write
from aevb.reports.figures import DATA, Item, by_panel, grouped
from aevb.reports.reading import Skipped, Statistics
from aevb.reports.table import Row
from aevb.runs.metrics import value_and_error, without_errors, write_csv

FORMULA = re.compile(r"[=+@]|-(?!\d)")
"""The start of a formula in a spreadsheet."""
MEASURED = re.compile(r"-?\d+(\.\d+)?(?= ± |$)")
"""The value of a text that is a number, with or without an error."""


def write_page(folder: Path, title: str, note: str, items: Sequence[Item], skipped: Sequence[Skipped]) -> Path:
    """Write the files of every part, and `report.html` with a note below the title; returns the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [write_part(item, folder) for item in items]
    if skipped:
        rows = [{"folder": path, "reason": reason} for path, reason in skipped]
        parts.append({"title": "Skipped", "caption": "", "rows": rows})
    filters: dict[str, Callable[..., Any]] = {
        "columns": lambda rows: without_errors(columns(rows)),
        "text": partial(value_and_error, text=as_text),
        "number": number,
        "link": partial(link, folder=folder),
    }
    template = Path(__file__).with_name("report.html.jinja")
    page = pages.render(template, filters, title=title, note=note, parts=parts)
    path = folder / "report.html"
    atomic_write(path, page)
    return path


def write_part(item: Item, folder: Path) -> dict[str, Any]:
    """Write the files of a part; returns its variables in the template."""
    files = []
    if item.rows:
        files.append(folder / f"{item.name}.csv")
        escaped = [{k: f"'{v}" if FORMULA.match(str(v)) else v for k, v in row.items()} for row in item.rows]
        write_csv(files[0], columns(item.rows), escaped)
    png = ""
    if item.figure is not None:
        picture = folder / f"{item.name}.png"
        files += [picture, picture.with_suffix(".svg")]
        from aevb import plots  # torch, which tables do without

        for path in files[-2:]:
            plots.save(item.figure, path)
        png = base64.b64encode(picture.read_bytes()).decode()
    is_curve = item.figure is not None and all(set(Statistics._fields) <= row.keys() for row in item.rows)
    return {
        "title": item.title,
        "caption": item.caption,
        "png": png,
        "picture": f"{item.name}.png",
        "curves": panels(item.rows) if is_curve else [],
        "rows": item.rows if item.show_rows else [],
        "files": [path.name for path in files],
    }


def panels(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The curves of each panel for the page's script: points are (samples, mean, deviation)."""
    found = []
    for where, in_panel in by_panel(rows).items():
        lines = [
            {
                "name": name,
                "dashed": name.endswith(" (test)"),
                "points": [[row["samples"], row["mean"], row["deviation"]] for row in points],
            }
            for name, points in grouped(in_panel, line_name).items()
        ]
        words = [str(DATA.get(str(v), v)) if k in ("data", "metric") else f"{k} {v}" for k, v in where if v is not None]
        found.append({"title": ", ".join(words) or "all training data", "lines": lines})
    return found


def line_name(row: Row) -> str:
    """The name of the line that a point is on."""
    return str(row["runs"]) if "runs" in row else f"{row['method']} ({row['split']})"


def link(path: str, folder: Path) -> str:
    """A relative link from a page in `folder` to a path."""
    return f"./{quote(os.path.relpath(path, folder).replace(os.sep, '/'))}"


def columns(rows: Sequence[Row]) -> list[str]:
    """The keys of all rows, in the order in which they appear."""
    return list(dict.fromkeys(name for row in rows for name in row))


def as_text(value: str | int | float | None) -> str:
    """A value with two decimals, and digits in groups of three."""
    if isinstance(value, float):
        return f"{value:,.2f}".replace("-", "−")
    if isinstance(value, int):
        return f"{value:,}"
    return str(value or "") if number(value) is None else str(value).replace("-", "−")


def number(value: str | int | float | None) -> str | int | float | None:
    """What a table sorts a value by: a number, or the value of `value ± error`; None for other texts."""
    found = MEASURED.match(value) if isinstance(value, str) else None
    return found[0] if found else None if isinstance(value, str) else value

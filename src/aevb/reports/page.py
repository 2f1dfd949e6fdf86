"""Files of a report: each part as PNG, SVG and CSV, and one self-contained page."""

import base64
import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from aevb import plots
from aevb.errors import printable
from aevb.files import atomic_write
from aevb.reports.figures import Item
from aevb.reports.reading import Skipped
from aevb.reports.table import Row

FORMULA = re.compile(r"[=+@]|-(?!\d)")
"""Begins a formula in a spreadsheet."""


def write_page(folder: Path, title: str, note: str, items: Sequence[Item], skipped: Sequence[Skipped]) -> Path:
    """Write the files of every part, and `report.html`, whose path is returned; `note` stands below the title."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [write_part(item, folder) for item in items]
    if skipped:
        rows = [{"folder": path, "reason": reason} for path, reason in skipped]
        parts.append({"title": "Skipped", "caption": "", "png": "", "rows": rows})
    pages = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
    pages.filters |= {"columns": columns, "text": as_text}
    page = pages.get_template("report.html.jinja").render(title=title, note=note, parts=parts)
    path = folder / "report.html"
    atomic_write(path, printable(page))
    return path


def write_part(item: Item, folder: Path) -> dict[str, Any]:
    """Write the files of a part; returns its variables in the template."""
    if item.rows:
        atomic_write(folder / f"{item.name}.csv", csv_text(item.rows))
    png = ""
    if item.figure is not None:
        picture = folder / f"{item.name}.png"
        for path in (picture, picture.with_suffix(".svg")):
            plots.save(item.figure, path)
        png = base64.b64encode(picture.read_bytes()).decode()
    return {"title": item.title, "caption": item.caption, "png": png, "rows": item.rows if item.show_rows else []}


def csv_text(rows: Sequence[Row]) -> str:
    """Rows as CSV."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns(rows))
    writer.writeheader()
    for row in rows:
        writer.writerow({name: f"'{value}" if FORMULA.match(str(value)) else value for name, value in row.items()})
    return text.getvalue()


def columns(rows: Sequence[Row]) -> list[str]:
    """The keys of all rows, in the order in which they appear."""
    return list(dict.fromkeys(name for row in rows for name in row))


def as_text(value: str | int | float | None) -> str:
    """A value with two decimals, and digits in groups of three."""
    if isinstance(value, float):
        return f"{value:,.2f}".replace("-", "−")
    return f"{value:,}" if isinstance(value, int) else str(value or "")

"""Files of a report: each part as PNG, SVG and CSV, and one page that needs nothing beside itself."""

import base64
import csv
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

from aevb import plots
from aevb.files import atomic_write
from aevb.reports.figures import Item
from aevb.reports.reading import Skipped
from aevb.reports.table import Row

STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1200px; margin: 2rem auto; padding: 0 1rem }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2.5rem }
figure { margin: 0 } figcaption { opacity: .8; margin: .4rem 0 }
img { max-width: 100%; height: auto; background: #fff }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #8884; text-align: left; white-space: nowrap }
td.number { text-align: right }
code { font-size: 14px }
"""


def write_page(folder: Path, title: str, note: str, items: Sequence[Item], skipped: Sequence[Skipped]) -> Path:
    """Write `report.html` and the files of every part.

    Args:
        folder: Where to; it is made if it is not there.
        title: Of the page.
        note: Below the title: how and when it was made.
        items: The parts, in their order.
        skipped: What could not be read; a part of its own where there is any.

    Returns:
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = [section(item, folder) for item in items]
    if skipped:
        rows: list[Row] = [{"folder": path, "reason": reason} for path, reason in skipped]
        parts.append(f"<h2>Skipped</h2>\n{html_table(rows)}")
    body = "\n".join(parts)
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p>{escape(note)}</p>
{body}
</body>
</html>
"""
    path = folder / "report.html"
    atomic_write(path, page)
    return path


def section(item: Item, folder: Path) -> str:
    """One part as HTML; its files are written on the way."""
    if item.rows:
        atomic_write(folder / f"{item.name}.csv", csv_text(item.rows))
    lines = [f"<h2>{escape(item.title)}</h2>"]
    caption = f"<figcaption>{escape(item.caption)}</figcaption>"
    if item.figure is not None:
        picture = folder / f"{item.name}.png"
        for path in (picture, picture.with_suffix(".svg")):
            plots.save(item.figure, path)
        data = base64.b64encode(picture.read_bytes()).decode()
        lines.append(f'<figure><img alt="{escape(item.title)}" src="data:image/png;base64,{data}">\n{caption}</figure>')
    else:
        lines.append(caption.replace("figcaption", "p"))
    if item.show_rows:
        lines.append(html_table(item.rows))
    return "\n".join(lines)


def csv_text(rows: Sequence[Row]) -> str:
    """Rows as CSV; the columns are those of all rows, in the order in which they appear."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns(rows))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def html_table(rows: Sequence[Row]) -> str:
    """Rows as an HTML table, which scrolls where it is too wide."""
    names = columns(rows)
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "\n".join("<tr>" + "".join(cell(row.get(name)) for name in names) + "</tr>" for row in rows)
    return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def columns(rows: Sequence[Row]) -> list[str]:
    """The keys of all rows, in the order in which they appear."""
    return list(dict.fromkeys(name for row in rows for name in row))


def cell(value: str | int | float | None) -> str:
    """A value as an HTML cell."""
    if isinstance(value, str) or value is None:
        return f"<td>{escape(value or '')}</td>"
    return f'<td class="number">{as_text(value)}</td>'


def as_text(value: str | int | float | None) -> str:
    """A value for a person to read: two decimals, whole numbers in groups of three digits."""
    if isinstance(value, float):
        return f"{value:,.2f}".replace("-", "−")
    return f"{value:,}" if isinstance(value, int) else str(value or "")

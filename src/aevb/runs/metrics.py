"""metrics.csv: a row for each logging step; the first column is `samples`, missing metrics are empty.

Where a run has several members, with seeds of their own, a metric is their mean, and `<metric>_se` the standard error
of the mean. members.csv, in the same format, has the metrics of each: a row for each member, whose number is the second
column, `member`.
"""

import csv
import io
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from aevb.errors import ConfigError, printable
from aevb.files import atomic_write, read_file
from aevb.runs.formats import MAX_BYTES, reason

ERROR = "_se"
"""Ends the name of a standard error over members."""


class Metrics(NamedTuple):
    """The content of a metrics.csv: the columns, and rows of texts by column."""

    columns: list[str]
    rows: list[dict[str, str]]


def read_metrics(file: Path) -> Metrics:
    """The columns and the complete rows; both empty where there is no file, a ConfigError where it is invalid."""
    if not os.path.lexists(file):
        return Metrics([], [])
    try:
        text = read_file(file, file.parent, MAX_BYTES[".csv"]).decode()
        reader = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
        columns = list(reader.fieldnames or [])
        rows = [row for row in reader if None not in row and None not in row.values()]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{file} cannot be read: {reason(file, error)}") from error
    if columns and columns[0] != "samples":
        raise ConfigError(f"{file} cannot be read: its first column is {columns[0]!r}, not samples")
    if any(printable(name) != name for name in columns):
        raise ConfigError(f"{file} cannot be read: the name of a column has control characters")
    return Metrics(columns, rows)


def over_members(values: Mapping[str, float | Sequence[float]]) -> dict[str, float]:
    """The mean over members of each metric that is given for several, and as `<metric>_se` its standard error."""
    found: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Sequence):
            found[name] = fmean(value)
            found[f"{name}{ERROR}"] = stdev(value) / math.sqrt(len(value)) if len(value) > 1 else math.nan
        else:
            found[name] = value
    return found


def without_errors(names: Iterable[str]) -> list[str]:
    """The names without those of standard errors, which are shown beside their values."""
    names = list(names)
    return [name for name in names if not (name.endswith(ERROR) and name.removesuffix(ERROR) in names)]


def value_and_error(row: Mapping[str, Any], name: str, text: Callable[[Any], str]) -> str:
    """A value in a row as a text, with its standard error where the row has one."""
    value, error = row.get(name), row.get(f"{name}{ERROR}")
    return text(value) if value is None or error is None else f"{text(value)} ± {text(error)}"


class MetricsWriter:
    """Appends rows to a metrics.csv or members.csv; a new metric adds a column, for which the file is rewritten.

    Args:
        file: Continued if it exists.

    Attributes:
        num_rows: Rows in the file.
    """

    def __init__(self, file: str | Path) -> None:
        self.file = Path(file)
        self.columns, rows = read_metrics(self.file)
        self.num_rows = len(rows)

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row."""
        new = [name for name in row if name not in self.columns]
        if new:
            rows = read_metrics(self.file).rows
            self.columns = [*self.columns, *new]
            write_csv(self.file, self.columns, rows)
        text = io.StringIO(newline="")
        csv.DictWriter(text, self.columns).writerow(row)
        descriptor = os.open(self.file, os.O_WRONLY | os.O_APPEND)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.getvalue().encode())
        self.num_rows += 1

    def truncate(self, num_rows: int) -> None:
        """Keep only the first rows; a resumed run logs the others again."""
        rows = read_metrics(self.file).rows[:num_rows]
        if self.columns:
            write_csv(self.file, self.columns, rows)
        self.num_rows = len(rows)


def write_csv(file: str | Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV file with a header, replacing an existing one."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    atomic_write(file, text.getvalue())

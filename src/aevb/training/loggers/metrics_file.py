"""The run folder's own metrics.csv."""

import csv
import io
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from aevb.files import atomic_write


class MetricsFile(Logger):
    """Appends metrics to a CSV file, a row per logging step; the first column is `samples`.

    A metric that first appears later adds a column: the file is then rewritten once, atomically.

    Args:
        path: The file; it is continued if it exists.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = Path(path)
        self.columns = self.read()[0] if self.path.is_file() else []

    @property
    def name(self) -> str:
        return "metrics"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The run folder holds the configuration already."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        row = {"samples": step, **metrics}
        new = [name for name in row if name not in self.columns]
        if new:
            rows = self.read()[1] if self.columns else []
            self.columns += new
            self.write(rows)
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self.columns).writerow(row)

    def read(self) -> tuple[list[str], list[dict[str, str]]]:
        """The columns, and the rows that were written whole."""
        with self.path.open(newline="") as file:
            reader = csv.DictReader(file)
            return list(reader.fieldnames or []), [row for row in reader if None not in row.values()]

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replace the file by these rows."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns)
        writer.writeheader()
        writer.writerows(rows)
        atomic_write(self.path, text.getvalue())

    def truncate(self, samples: int) -> None:
        """Forget what was logged after `samples`: a resumed run logs it again."""
        if self.columns:
            self.write([row for row in self.read()[1] if int(row["samples"]) <= samples])

"""Tables of numbers from a CSV file."""

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aevb.data.module import Splits
from aevb.data.own import OwnDataModule
from aevb.errors import first_line
from aevb.files import atomic_write
from aevb.types import did_you_mean


class CSV(OwnDataModule):
    """A table from a CSV file: a row a datapoint (1, 1, D), a column a dimension.

    Each column is standardised, x = (raw − m) / s, by its mean m and standard deviation s over the training split
    alone; `in_units` undoes it. A density of the columns in their units is log p(raw) = log p(x) − Σ log s.

    Args:
        path: The file; its first line names the columns.
        columns: To read, in this order; None: all but the label.
        label: A column of class labels, of any values; None: there are none.
        standardize: As above; False: values as they are.
        delimiter: Between cells; "\\t" is a tab.
        kwargs: See `OwnDataModule` and `InMemoryDataModule`.

    Attributes:
        classes: The values of the label column, in the order of their numbers.
        mean, scale: m and s, (D,), in float64.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        columns: Sequence[str] | None = None,
        label: str | None = None,
        standardize: bool = True,
        delimiter: str = ",",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        delimiter = delimiter.replace("\\t", "\t")  # as a shell passes it
        if len(delimiter) != 1:
            raise ValueError(f"data.delimiter must be one character, got {delimiter!r}")
        self.path = Path(path).expanduser()
        self.place = f"data.path: {self.path}"
        self.columns = None if columns is None else list(columns)
        self.label = label
        self.standardize = standardize
        self.delimiter = delimiter
        self.classes: list[str] = []
        self.mean, self.scale = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)

    def in_units(self, x: Tensor) -> Tensor:
        """Datapoints or samples x (..., D), or (..., 1, 1, D), in the units of the columns, in float64."""
        self.setup()
        return x.double().cpu() * self.scale + self.mean

    @property
    def log_scale(self) -> float:
        return float(self.scale.log().sum())

    def write(self, x: Tensor, path: Path) -> None:
        """Write datapoints or samples (N, 1, 1, D) as a CSV file, in the units of the columns."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns or [])
        writer.writerows([f"{value:.8g}" for value in row] for row in self.in_units(x).flatten(0, -2).tolist())
        atomic_write(path, text.getvalue())

    def arrays(self) -> Mapping[str, np.ndarray]:
        try:
            with self.path.open(newline="", encoding="utf-8-sig") as file:
                return self._table(csv.reader(file, delimiter=self.delimiter))
        except OSError as error:
            raise self._error(f"cannot be read: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise self._error(f"must be in UTF-8; {first_line(error)}") from error
        except csv.Error as error:
            raise self._error(f"is no CSV file: {first_line(error)}") from error

    def _table(self, reader: Any) -> dict[str, np.ndarray]:
        names = [name.strip() for name in next(reader, [])]
        if len(set(names)) < len(names) or not names:
            raise self._error(
                f"must name its columns in its first line, each once; it has {', '.join(names) or 'none'}"
            )
        if self.columns is None and "" in names:
            raise self._error(
                "has a column without a name, as pandas writes the numbers of rows; name it, or choose data.columns"
            )
        if is_row(names):
            raise self._error(f"must name its columns in its first line, which has the numbers {', '.join(names[:5])}")
        if self.columns is None:
            self.columns = [name for name in names if name != self.label]
        for name in (*self.columns, *([] if self.label is None else [self.label])):
            if name not in names:
                hint = did_you_mean(name, names) or f"; it has {', '.join(names[:20])}"
                raise self._error(f"has no column {name!r}{hint}")
        chosen, labelled = [names.index(name) for name in self.columns], names.index(self.label) if self.label else None
        rows, labels = [], []
        for row in reader:
            if not row:
                continue
            if len(row) != len(names):
                raise self._error(f"has {len(row)} cells in line {reader.line_num}, and {len(names)} columns")
            rows.append([number(row[index]) for index in chosen])
            if not all(map(math.isfinite, rows[-1])):
                index = next(index for index in chosen if not math.isfinite(number(row[index])))
                other = " or data.delimiter" if len(names) == 1 else ""
                what = f"{row[index]!r}, which is no finite number," if row[index].strip() else "an empty cell"
                place = f"line {reader.line_num}, column {names[index]}"
                raise self._error(f"has {what} in {place}; mend it, or choose data.columns{other}")
            if labelled is not None:
                labels.append(row[labelled].strip())
        if not rows or not chosen:
            raise self._error(f"has {len(rows)} rows of {len(chosen)} columns")
        self.classes = sorted(set(labels))
        numbers = {name: count for count, name in enumerate(self.classes)}
        found = {"x": np.array(rows)}
        return found | ({"y": np.array([numbers[name] for name in labels])} if labels else {})

    def _values(self, x: np.ndarray, name: str) -> np.ndarray:
        return x  # checked cell by cell; in float64 until it is standardised

    def load(self) -> Splits:
        splits = super().load()
        train = splits.train.x.flatten(0, -2)
        self.mean, self.scale = torch.zeros_like(train[0]), torch.ones_like(train[0])
        if self.standardize:
            self.mean, self.scale = train.mean(0), train.std(0, correction=0)
            same = (train.amin(0) == train.amax(0)).nonzero().flatten().tolist()
            if same:
                names = ", ".join((self.columns or [])[index] for index in same)
                raise self._error(f"has the same value in all training rows of {names}; choose data.columns without it")
        splits = Splits(*(part._replace(x=((part.x - self.mean) / self.scale).float()) for part in splits))
        if not all(bool(part.x.isfinite().all()) for part in splits):
            raise self._error("has numbers too large for float32")
        return splits


def is_row(names: Sequence[str]) -> bool:
    """Whether the names of columns are a row of numbers; those that count columns, as pandas writes them, are none."""
    values = [number(name) for name in names]
    counts = [values[0] + index for index in range(len(values))]
    return not any(map(math.isnan, values)) and (values != counts or not values[0].is_integer())


def number(cell: str) -> float:
    """The number in a cell; NaN where there is none."""
    try:
        return float(cell)
    except ValueError:
        return math.nan

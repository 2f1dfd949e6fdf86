"""An array that is larger than memory."""

import os
import warnings
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aevb.data.array import LIKELY_CHANNELS
from aevb.data.loader import value_range
from aevb.data.module import InMemoryDataModule, Split, Splits
from aevb.data.own import MAX_INTEGER
from aevb.errors import ConfigError, first_line
from aevb.inputs import to_float
from aevb.types import Fraction

_SAMPLE = 1000
"""Datapoints of a split that its fingerprint is of."""


class MemoryMapped(InMemoryDataModule):
    """A .npy file that stays on the disk: a block of minibatches is read when it is due.

    Training takes the rows in another order in each epoch, as of data in memory, and is resumed as exactly. The last
    rows are the test set, those before them the validation set: shuffle the file if it has an order. There are no
    labels. Before training, the file is read to check its values, some seconds a gigabyte; the fingerprint is that of
    1000 rows a split and of their number.

    Args:
        path: The file: uint8, bool, integers or floats, (N, C, H, W), (N, H, W) or (N, D), in C order.
        val_fraction: Of the rows.
        test_fraction: Of the rows.
        kwargs: See `InMemoryDataModule`; `binarization` would need a copy.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        val_fraction: Fraction = 0.1,
        test_fraction: Fraction = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.path = Path(path).expanduser()
        self.val_fraction, self.test_fraction = val_fraction, test_fraction
        if val_fraction + test_fraction >= 1:
            raise ValueError(f"data.val_fraction must be below 1 - data.test_fraction, got {val_fraction}")
        if self.binarization != "none":
            raise ValueError(f"data.binarization must be none for data on the disk, got {self.binarization}")

    def load(self) -> Splits:
        """Map the file, and check its values."""
        try:
            array = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise self._error(f"cannot be mapped: {getattr(error, 'strerror', None) or first_line(error)}") from error
        if not isinstance(array, np.memmap) or array.ndim not in (2, 3, 4) or array.dtype.kind not in "buif":
            raise self._error("must be a .npy file of numbers (N, C, H, W), (N, H, W) or (N, D)")
        if not array.flags.c_contiguous or array.dtype.byteorder == ">" or array.dtype.str[1:] in WIDE:
            raise self._error(
                "must be in C order and a type of torch; save it by numpy.save(…, x.astype(…, order='C'))"
            )
        n, (first, *rest) = len(array), array.shape[1:] if array.ndim > 2 else (1, 1, array.shape[1])
        val, test = max(1, round(n * self.val_fraction)), max(1, round(n * self.test_fraction))
        if val + test >= n:
            raise self._error(f"has too few datapoints to split, {n}")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # and nothing writes to it
            x = torch.from_numpy(array).view(n, *((1, first) if array.ndim == 3 else (first,)), *rest)
        splits = Splits(*(Split(part) for part in x.split([n - val - test, val, test])))
        if likely_last(tuple(x.shape[1:])) and self._wanted_shape != tuple(x.shape[1:]):
            shown = list(x.shape[1:])
            raise self._error(
                f"must hold images (C, H, W), got {shown}; save numpy.moveaxis(x, -1, 1), or set data.shape={shown}"
            )
        ranges = [value_range(split.x) for split in splits]
        if not np.isfinite(ranges).all():
            raise self._error("has values that are NaN or infinite")
        if x.dtype == torch.uint8 and np.max(ranges) == to_float(x.new_ones(1)).item():
            raise self._error("has only 0 and 1 of 255; save black and white as bool")
        if not x.is_floating_point() and np.abs(ranges).max() > MAX_INTEGER:
            raise self._error(f"has integers beyond {MAX_INTEGER:,}, which float32 would round")
        return splits

    @cached_property
    def value_range(self) -> tuple[float, float]:
        return value_range(self.splits.train.x)

    def _digest(self, split: Split) -> str:
        rows = torch.linspace(0, len(split.x) - 1, min(_SAMPLE, len(split.x))).long()
        return f"{super()._digest(split.take(rows))} of {len(split.x)}"

    def _error(self, what: str) -> ConfigError:
        return ConfigError(f"data.path: {self.path} {what}")


def likely_last(shape: tuple[int, ...]) -> bool:
    """Whether the last of three axes, not the first, is likely that of the channels of images."""
    first, middle, last = shape
    return last in LIKELY_CHANNELS and first not in LIKELY_CHANNELS and last < middle


WIDE = ("u2", "u4", "u8", "f16")
"""NumPy's types that torch supports in part, or not at all."""

"""The base class of the user's own data: arrays from anywhere, split where they are not, and checked."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from aevb.data.module import InMemoryDataModule, Split, Splits, split_at_random
from aevb.data.numpy_file import MAX_MEMORY
from aevb.errors import ConfigError
from aevb.inputs import as_array
from aevb.types import Fraction

MAX_INTEGER = 1 << 24
"""Up to here, float32 holds every integer."""


class OwnDataModule(InMemoryDataModule):
    """The user's own data: a subclass reads `arrays`, this class splits and checks them.

    **The type** of x is uint8, read as x / 255; bool, read as 0 and 1; other integers, which are counts, or floats,
    both taken as they are.

    Args:
        val_fraction: Of the datapoints that are not split already; by `split_seed`.
        test_fraction: Of the same.
        kwargs: See `InMemoryDataModule`.
    """

    place = "data:"
    """Where the data are, for messages."""

    sequences = False
    """Whether the second axis of x are steps; lengths say so, too."""

    def __init__(self, val_fraction: Fraction = 0.1, test_fraction: Fraction = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        if val_fraction + test_fraction >= 1:
            raise ValueError(f"data.val_fraction must be below 1 - data.test_fraction, got {val_fraction}")

    @abstractmethod
    def arrays(self) -> Mapping[str, np.ndarray]:
        """x (N, C, H, W), (N, H, W) or (N, D), and y (N,) if there are labels; or x_train, y_train, x_val and so on.

        Sequences are (N, T, D), steps of D values, or (N, T, H, W) and (N, T, C, H, W), steps that are images; lengths
        (N,) are their numbers of steps where these differ.
        """

    def load(self) -> Splits:
        """Read, split and check the arrays."""
        arrays = self.arrays()
        given = {name: self._split(arrays, name) for name in ("x", "x_train", "x_val", "x_test") if name in arrays}
        data = given.get("x") or given["x_train"]
        sizes = {
            "val": 0 if "x_val" in given else max(1, round(len(data.x) * self.val_fraction)),
            "test": 0 if "x_test" in given else max(1, round(len(data.x) * self.test_fraction)),
        }
        if sum(sizes.values()) >= len(data.x):
            raise self._error(f"has too few datapoints to split, {len(data.x)}")
        splits = split_at_random(data, **sizes, seed=self.split_seed)
        splits = splits._replace(**{name[2:]: given[name] for name in ("x_val", "x_test") if name in given})
        shapes = [list(split.x.shape[1:]) for split in splits]
        if any(shape != shapes[0] for shape in shapes):
            raise self._error(f"has splits of different shapes, {shapes}")
        if len({split.x.dtype for split in splits}) > 1:
            raise self._error("has splits of different types")
        if len({split.y is None for split in splits}) > 1:
            raise self._error("has labels for some splits only")
        if len({None if split.c is None else split.c.shape[1:] for split in splits}) > 1:
            raise self._error("has lengths or conditions for some splits only, or of different shapes")
        return splits

    def _error(self, what: str) -> ConfigError:
        return ConfigError(f"{self.place} {what}")

    def _split(self, arrays: Mapping[str, np.ndarray], name: str) -> Split:
        """The datapoints under `name`, their labels and their lengths, checked."""
        x, part = arrays[name], name[1:]
        is_sequence = self.sequences or f"lengths{part}" in arrays
        if is_sequence and (x.ndim not in (3, 4, 5) or x.size == 0):
            raise self._error(f"must hold sequences (N, T, D), (N, T, H, W) or (N, T, C, H, W); {name} is {form(x)}")
        if not is_sequence and (x.ndim not in (2, 3, 4) or x.size == 0):
            hint = "; sequences of images need data.sequences=true" if x.ndim == 5 else ""
            raise self._error(
                f"must hold images (N, H, W), (N, C, H, W), (N, H, W, C) or vectors (N, D); {name} is {form(x)}{hint}"
            )
        y, lengths = (self._integers(arrays, beside + part, name, len(x)) for beside in ("y", "lengths"))
        if lengths is not None:
            if not (lengths.min() >= 1 and lengths.max() <= x.shape[1]):
                raise self._error(
                    f"has sequences of {x.shape[1]} steps in {name}; lengths{part} must be from 1 to {x.shape[1]}, got "
                    f"{lengths.min()} to {lengths.max()}"
                )
            x = x.copy()
            x[np.arange(x.shape[1]) >= lengths[:, None]] = 0  # or padding would be in the range of the data
        x = self._values(x, name)
        x = (x[:, :, None] if x.ndim == 4 else x) if is_sequence else self._images(x, name)
        return Split(
            torch.from_numpy(np.ascontiguousarray(x)),
            None if y is None else torch.from_numpy(y.astype(np.int64)),
            self._conditions(arrays, "c" + part, len(x)) if lengths is None else torch.from_numpy(lengths).float(),
        )

    def _conditions(self, arrays: Mapping[str, np.ndarray], name: str, count: int) -> torch.Tensor | None:
        """The conditions under `name`, (N, *condition_shape); None where there are none."""
        if name not in arrays:
            return None
        c = arrays[name]
        with np.errstate(all="ignore"):
            values = c.astype(np.float32) if c.dtype.kind in "iuf" else np.array(np.nan)
        if values.shape[:1] != (count,) or not np.isfinite(values).all():
            raise self._error(f"needs finite numbers for each of the {count} in x{name[1:]}; {name} is {form(c)}")
        return torch.from_numpy(values)

    def _integers(self, arrays: Mapping[str, np.ndarray], name: str, of: str, count: int) -> np.ndarray | None:
        """The array under `name`, an integer for each datapoint; None where there is none."""
        values = arrays.get(name)
        if values is not None and (values.shape != (count,) or values.dtype.kind not in "iu"):
            raise self._error(f"needs one integer for each of the {count} in {of}; {name} is {form(values)}")
        return values

    def _values(self, x: np.ndarray, name: str) -> np.ndarray:
        if x.dtype.kind == "f":
            with np.errstate(over="ignore"):
                x = x.astype(np.float32)
            if not np.isfinite(x).all():
                raise self._error(f"has values in {name} that are NaN, infinite or too large")
            return x
        if x.dtype.kind in "iu" and x.dtype != np.uint8:
            if x.min() < -MAX_INTEGER or x.max() > MAX_INTEGER:
                raise self._error(f"has integers beyond {MAX_INTEGER:,} in {name}, which float32 would round")
            return x.astype(np.float32)
        if x.dtype not in (np.uint8, np.bool_):
            hint = f"; {name}.astype(float) makes floats of numbers" if x.dtype.kind in "OSU" else ""
            raise self._error(f"must hold uint8, bool, integers or floats; {name} is {x.dtype}{hint}")
        if x.dtype == np.uint8 and x.max() == 1:
            raise self._error(f"has only 0 and 1 of 255 in {name}; save black and white as bool")
        return x

    def _images(self, x: np.ndarray, name: str) -> np.ndarray:
        """(N, C, H, W)."""
        wanted = self._wanted_shape
        if x.ndim == 2:
            fits = wanted is not None and np.prod(wanted) == x.shape[1]
            return x.reshape(len(x), *(wanted if fits and wanted is not None else (1, 1, x.shape[1])))
        return x[:, None] if x.ndim == 3 else x


def form(array: np.ndarray) -> str:
    """The type and the shape of an array, for messages."""
    return f"{array.dtype} of shape {tuple(array.shape)}"


@runtime_checkable
class SparseMatrix(Protocol):
    """Those of scipy, and others that can be made dense."""

    shape: tuple[int, ...]

    def toarray(self) -> np.ndarray: ...


def dense(values: Any, place: str) -> np.ndarray:
    """A matrix as an array: a sparse one of scipy becomes dense, if that fits into memory."""
    needed = 4 * int(np.prod(values.shape)) if hasattr(values, "toarray") else 0
    if needed > MAX_MEMORY:
        raise ConfigError(f"{place} has {needed:,} bytes when it is dense, more than fit into memory; select columns")
    return as_array(values, place)

"""The user's own data, from memory or a NumPy file."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aevb.data.module import InMemoryDataModule, Split, Splits, split_at_random
from aevb.data.numpy_file import read_arrays
from aevb.errors import ConfigError, first_line
from aevb.types import Fraction

_LIKELY_CHANNELS = (1, 3, 4)
_NAMES = tuple(name + part for part in ("", "_train", "_val", "_test") for name in "xy")
_MAX_INTEGER = 1 << 24
"""Up to here, float32 holds every integer."""


class Array(InMemoryDataModule):
    """Images, or any other arrays, from memory or from a .npy or .npz file.

    Example:
        >>> data = Array(np.zeros((50, 8, 8), dtype=np.uint8), batch_size=10)
        >>> data.shape, data.train_size
        ((1, 8, 8), 40)

    **The file.** A .npy file holds x. A .npz file holds either x, or the splits x_train, x_val and x_test; each may
    have labels beside it (y, y_train, y_val, y_test: integers). A .npz file with one array of any name holds x. What
    the file does not split off, `val_fraction` and `test_fraction` do, by seed.

    **The shape** of x may be (N, H, W); (N, C, H, W); (N, H, W, C); or (N, D), vectors, which become (N, 1, 1, D), or
    images where `shape` says so. Which of four axes has the channels is read from the sizes: square images (C, S, S) or
    (S, S, C), or 1, 3 or 4 channels, or a number far smaller than the others. Where it could be either, `shape` or
    `channels_last` must say so.

    **The type** of x is uint8, read as x / 255; bool, read as 0 and 1; other integers, which are counts, or floats,
    both taken as they are.

    Args:
        path: The file; or x itself, a NumPy array or a tensor.
        val_fraction: Of the datapoints that are not split in the file.
        test_fraction: Of the same.
        channels_last: Whether four axes are (N, H, W, C) or (N, C, H, W); None: see above.
        y: Labels of an x that is given itself, integers (N,).
        kwargs: See `InMemoryDataModule`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | np.ndarray | Tensor,
        val_fraction: Fraction = 0.1,
        test_fraction: Fraction = 0.1,
        channels_last: bool | None = None,
        y: np.ndarray | Tensor | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(path, np.ndarray | Tensor):
            self.given = {"x": as_array(path)} | ({} if y is None else {"y": as_array(y)})
            self.place = "data: the array"
        elif y is not None:
            raise ValueError("y is for an x that is given as an array; a .npz file has its own")
        else:
            self.given, self.path = {}, Path(path).expanduser()
            self.place = f"data.path: {self.path}"
        self.channels_last = channels_last
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        if val_fraction + test_fraction >= 1:
            raise ValueError(f"data.val_fraction must be below 1 - data.test_fraction, got {val_fraction}")

    def load(self) -> Splits:
        """Read the file if there is one, and check."""
        arrays = self.given or self._read()
        given = {name: self._split(arrays, name) for name in ("x", "x_train", "x_val", "x_test") if name in arrays}
        data = given.get("x") or given["x_train"]
        sizes = {
            "val": 0 if "x_val" in given else max(1, round(len(data.x) * self.val_fraction)),
            "test": 0 if "x_test" in given else max(1, round(len(data.x) * self.test_fraction)),
        }
        if sum(sizes.values()) >= len(data.x):
            raise self._error(f"has only {len(data.x)} datapoints, too few to split")
        splits = split_at_random(data, **sizes, seed=self.split_seed)
        splits = splits._replace(**{name[2:]: given[name] for name in ("x_val", "x_test") if name in given})
        shapes = [list(split.x.shape[1:]) for split in splits]
        if any(shape != shapes[0] for shape in shapes):
            raise self._error(f"has splits of different shapes, {shapes}")
        if len({split.x.dtype for split in splits}) > 1:
            raise self._error("has splits of different types")
        if len({split.y is None for split in splits}) > 1:
            raise self._error("has labels for some splits only")
        return splits

    def _error(self, what: str) -> ConfigError:
        return ConfigError(f"{self.place} {what}")

    def _read(self) -> dict[str, np.ndarray]:
        """The arrays in the file under the names that the class documents."""
        if self.path.suffix not in (".npy", ".npz"):
            raise self._error("must be a .npy or .npz file; write one with numpy.save or numpy.savez")
        if not self.path.exists():
            raise self._error("does not exist")
        try:
            arrays = read_arrays(self.path, self._chosen)
        except ConfigError as error:
            raise ConfigError(f"data.path: {error}") from error
        except Exception as error:  # errors of damaged files are not documented
            raise self._error(f"cannot be read: {first_line(error)}") from error
        return arrays if len(arrays) > 1 else dict(zip(["x"], arrays.values(), strict=True))

    def _chosen(self, names: Sequence[str]) -> Sequence[str]:
        """The arrays to read: those of known names, or the only one."""
        if len(names) == 1:
            return names
        if not {"x", "x_train"}.isdisjoint(names):
            return [name for name in names if name in _NAMES]
        shown = ", ".join(names[:10]) or "none"
        raise ConfigError(f"{self.path} has the arrays {shown}; name them x, y or {', '.join(_NAMES[2:])}")

    def _split(self, arrays: Mapping[str, np.ndarray], name: str) -> Split:
        """The datapoints under `name` and their labels, checked."""
        x = self._images(self._values(arrays[name], name), name)
        label_name = "y" + name[1:]
        if label_name not in arrays:
            return Split(torch.from_numpy(x))
        y = arrays[label_name]
        if y.shape != (len(x),) or y.dtype.kind not in "iu":
            raise self._error(f"needs one integer for each of the {len(x)} in {name}; {label_name} is {_form(y)}")
        return Split(torch.from_numpy(x), torch.from_numpy(y.astype(np.int64)))

    def _values(self, x: np.ndarray, name: str) -> np.ndarray:
        if x.ndim < 2 or x.ndim > 4 or x.size == 0:
            raise self._error(
                f"must hold images (N, H, W), (N, C, H, W), (N, H, W, C) or vectors (N, D); {name} is {_form(x)}"
            )
        if x.dtype.kind == "f":
            with np.errstate(over="ignore"):
                x = x.astype(np.float32)
            if not np.isfinite(x).all():
                raise self._error(f"has values in {name} that are NaN, infinite or too large")
            return x
        if x.dtype.kind in "iu" and x.dtype != np.uint8:
            if x.min() < -_MAX_INTEGER or x.max() > _MAX_INTEGER:
                raise self._error(f"has integers beyond {_MAX_INTEGER:,} in {name}, which float32 would round")
            return x.astype(np.float32)
        if x.dtype not in (np.uint8, np.bool_):
            raise self._error(f"must hold uint8, bool, integers or floats; {name} is {x.dtype}")
        if x.dtype == np.uint8 and x.max() == 1:
            raise self._error(f"has only 0 and 1 of 255 in {name}; save black and white as bool")
        return x

    def _images(self, x: np.ndarray, name: str) -> np.ndarray:
        """(N, C, H, W), contiguous."""
        wanted = self._wanted_shape
        if x.ndim != 4 and self.channels_last is not None:
            raise ConfigError(f"data.channels_last is for arrays of four axes; {name} is {_form(x)}")
        if x.ndim == 2:
            fits = wanted is not None and np.prod(wanted) == x.shape[1]
            x = x.reshape(len(x), *(wanted if fits and wanted is not None else (1, 1, x.shape[1])))
        elif x.ndim == 3:
            x = x[:, None]
        elif self._has_channels_last(x.shape[1:], name):
            x = np.moveaxis(x, -1, 1)
        return np.ascontiguousarray(x)

    def _has_channels_last(self, shape: tuple[int, ...], name: str) -> bool:
        """Whether datapoints of this shape are (H, W, C), not (C, H, W)."""
        if self.channels_last is not None:
            return self.channels_last
        first, middle, last = shape
        as_last = (last, first, middle)
        if self._wanted_shape in (shape, as_last) and shape != as_last:
            return self._wanted_shape == as_last
        if (first == middle > 1) != (middle == last > 1):
            return first == middle
        few = min(first, last)
        if few <= middle and first != last:
            likely = [size in _LIKELY_CHANNELS for size in (first, last)]
            if likely.count(True) == 1 and few in _LIKELY_CHANNELS:
                return last == few
            if not any(likely) and 2 * few <= min(middle, max(first, last)):
                return last == few
        place = self.place.partition(": ")[2]
        raise ConfigError(
            f"data.channels_last must be true or false: {place} has {name} of shape (N, {first}, {middle}, {last}),"
            f" {first} channels of {middle}x{last} or {last} channels of {first}x{middle} (or set data.shape)"
        )


def as_array(values: np.ndarray | Tensor) -> np.ndarray:
    """A tensor of any device and precision as an array; NumPy has no bfloat16."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        return (values.float() if values.is_floating_point() else values).numpy()
    return values


def _form(array: np.ndarray) -> str:
    return f"{array.dtype} of shape {tuple(array.shape)}"

"""The user's own data, from memory or a NumPy file."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from aevb.data.numpy_file import read_arrays
from aevb.data.own import OwnDataModule, SparseMatrix, dense, form
from aevb.errors import ConfigError, first_line
from aevb.inputs import as_numbers

LIKELY_CHANNELS = (1, 3, 4)
_SPARSE = {"data", "format", "indices", "indptr", "shape"}
_NAMES = tuple(name + part for part in ("", "_train", "_val", "_test") for name in ("x", "y", "lengths", "c"))


class Array(OwnDataModule):
    """Images, or any other arrays, from memory or from a .npy or .npz file.

    Example:
        >>> data = Array(np.zeros((50, 8, 8), dtype=np.uint8), batch_size=10)
        >>> data.shape, data.train_size
        ((1, 8, 8), 40)

    **The file.** A .npy file has x. A .npz file has either x, or the splits x_train, x_val and x_test; each may
    have labels beside it (y, y_train, y_val, y_test: integers) and conditions (c, c_train, c_val, c_test: numbers). A
    .npz file with one array of any name holds x, and so does one of `scipy.sparse.save_npz`, which becomes dense. What
    the file does not split off, `val_fraction` and `test_fraction` do, by seed.

    **The shape** of x may be (N, H, W); (N, C, H, W); (N, H, W, C); or (N, D), vectors, which become (N, 1, 1, D), or
    images where `shape` says so. Which of four axes has the channels is read from the sizes: square images (C, S, S) or
    (S, S, C), or 1, 3 or 4 channels, or a number far smaller than the others. Where it could be either, `shape` or
    `channels_last` must say so.

    **Sequences** are (N, T, D), steps of D values, or (N, T, H, W) and (N, T, C, H, W), steps that are images. They are
    told from images by `sequences`, or by lengths beside x in a .npz file (lengths, lengths_train, lengths_val,
    lengths_test: integers from 1 to T). A sequence shorter than T is padded, with whatever values.

    Args:
        path: The file; or x itself, a NumPy array, a tensor or a sparse matrix.
        channels_last: Whether four axes are (N, H, W, C) or (N, C, H, W); None: see above.
        sequences: Whether the second axis of x are steps; lengths say so, too.
        y: Labels of an x that is given itself, integers (N,).
        lengths: Steps of each sequence of an x that is given itself, integers (N,).
        c: Conditions of an x that is given itself, numbers (N, *condition_shape).
        kwargs: See `OwnDataModule` and `InMemoryDataModule`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | np.ndarray | Tensor | SparseMatrix,
        channels_last: bool | None = None,
        sequences: bool = False,
        y: np.ndarray | Tensor | None = None,
        lengths: np.ndarray | Tensor | None = None,
        c: np.ndarray | Tensor | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.given: dict[str, np.ndarray] = {}
        self.channels_last, self.sequences = channels_last, sequences
        if not isinstance(path, str | os.PathLike):
            given = {"x": path, "y": y, "lengths": lengths, "c": c}
            self.given = {name: as_array(values) for name, values in given.items() if values is not None}
            self.place = "data: the array"
        elif any(values is not None for values in (y, lengths, c)):
            raise ValueError("y, lengths and c are for an x that is given as an array; a .npz file has its own")
        else:
            self.path = Path(path).expanduser()
            self.place = f"data.path: {self.path}"

    def arrays(self) -> Mapping[str, np.ndarray]:
        arrays = self.given or self._read()
        return {"x": self._sparse(arrays)} if "indptr" in arrays else arrays

    def _sparse(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """The matrix of a file by `scipy.sparse.save_npz`."""
        from scipy import sparse  # takes a tenth of a second

        kinds = {b"csr": sparse.csr_array, b"csc": sparse.csc_array}
        try:
            parts = arrays["data"], arrays["indices"], arrays["indptr"]
            matrix = kinds[arrays["format"].item()](parts, shape=tuple(map(int, arrays["shape"])))
            matrix.check_format(full_check=True)
        except (KeyError, ValueError, TypeError) as error:
            raise self._error(f"holds no sparse matrix of scipy's, csr or csc: {first_line(error)}") from error
        return dense(matrix, self.place)

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
        if _SPARSE.issubset(names):
            return sorted(_SPARSE)
        if not {"x", "x_train"}.isdisjoint(names):
            return [name for name in names if name in _NAMES]
        shown = ", ".join(names[:10]) or "none"
        raise ConfigError(f"{self.path} has the arrays {shown}; name them x, y, lengths, c or {', '.join(_NAMES[4:])}")

    def _images(self, x: np.ndarray, name: str) -> np.ndarray:
        if x.ndim == 4:
            return np.moveaxis(x, -1, 1) if self._has_channels_last(x.shape[1:], name) else x
        if self.channels_last is not None:
            raise ConfigError(f"data.channels_last is for arrays of four axes; {name} is {form(x)}")
        return super()._images(x, name)

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
            likely = [size in LIKELY_CHANNELS for size in (first, last)]
            if likely.count(True) == 1 and few in LIKELY_CHANNELS:
                return last == few
            if not any(likely) and 2 * few <= min(middle, max(first, last)):
                return last == few
        place = self.place.partition(": ")[2]
        raise ConfigError(
            f"data.channels_last must be true or false: {place} has {name} of shape (N, {first}, {middle}, {last}),"
            f" {first} channels of {middle}x{last} or {last} channels of {first}x{middle} (or set data.shape)"
        )


def as_array(values: Any) -> np.ndarray:
    """A tensor of any device and precision as an array, NumPy has no bfloat16; or whatever else is one."""
    if isinstance(values, Tensor):
        values = as_numbers(values, "data: the tensor").detach().cpu()
        return (values.float() if values.is_floating_point() else values).numpy()
    return dense(values, "data: the array")

"""Anybody's own images, from a NumPy file."""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aevb.checks import number
from aevb.data.module import InMemoryDataModule, Split, Splits, split_at_random

_LIKELY_CHANNELS = (1, 3, 4)
_FORMS = "x, y or x_train, y_train, x_val, y_val, x_test, y_test"


class Array(InMemoryDataModule):
    """Images, or any other arrays, from a .npy or .npz file.

    **The file.** A .npy file holds x. A .npz file holds either x, or the splits x_train, x_val and x_test; each may
    have labels beside it (y, y_train, y_val, y_test: integers). A .npz file with one array of any name holds x. What
    the file does not split off, `val_fraction` and `test_fraction` do, by seed.

    **The shape** of x may be (N, H, W); (N, C, H, W); (N, H, W, C) for 1, 3 or 4 channels; or (N, D), vectors, which
    become (N, 1, 1, D). Give `shape` to have vectors taken for images, or to say which axis of four has the channels
    where it could be either.

    **The type** of x is uint8, read as x / 255; bool, read as 0 and 1; or floats, which are taken as they are.

    Args:
        path: the file.
        val_fraction, test_fraction: of the datapoints that are not split in the file.
        kwargs: see `InMemoryDataModule`.

    Raises:
        ValueError: a fraction that is not in (0, 1); at `setup`, a file that cannot be read or holds something else.
    """

    def __init__(
        self, path: str | os.PathLike[str], val_fraction: float = 0.1, test_fraction: float = 0.1, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.path = Path(path).expanduser()
        self.val_fraction = number(val_fraction, "data.val_fraction", above=0, below=1)
        self.test_fraction = number(test_fraction, "data.test_fraction", above=0, below=1)
        if val_fraction + test_fraction >= 1:
            raise ValueError(f"data.val_fraction must be below 1 - data.test_fraction, got {val_fraction}")

    def load(self) -> Splits:
        """Reads and checks the file."""
        arrays = self._named(self._read())
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
        if len({split.x.shape[1:] for split in splits}) > 1:
            raise self._error(f"has splits of different shapes, {[list(split.x.shape[1:]) for split in splits]}")
        if len({split.x.dtype for split in splits}) > 1:
            raise self._error("has splits of different types")
        if len({split.y is None for split in splits}) > 1:
            raise self._error("has labels for some splits only")
        return splits

    def _error(self, what: str) -> ValueError:
        return ValueError(f"data.path: {self.path} {what}")

    def _read(self) -> dict[str, np.ndarray]:
        """All arrays in the file, by name; "x" for a .npy file."""
        if self.path.suffix not in (".npy", ".npz"):
            raise self._error("must be a .npy or .npz file; write one with numpy.save or numpy.savez")
        try:
            # Pickled objects are refused: reading them would run what the file says.
            loaded = np.load(self.path, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"x": loaded}
            with loaded:
                return {name: loaded[name] for name in loaded.files}
        except FileNotFoundError as error:
            raise self._error("does not exist") from error
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, MemoryError) as error:
            pickled = "pickle" in str(error)
            reason = "it holds Python objects, not numbers, or is damaged" if pickled else error
            raise self._error(f"cannot be read ({reason})") from error

    def _named(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The arrays under the names that `Array` documents."""
        if "x" in arrays or "x_train" in arrays:
            return arrays
        if len(arrays) == 1:
            return {"x": next(iter(arrays.values()))}
        raise self._error(f"has the arrays {', '.join(arrays) or 'none'}; name them {_FORMS}")

    def _split(self, arrays: Mapping[str, np.ndarray], name: str) -> Split:
        """The datapoints under `name` and their labels, checked and in the form of all data sets."""
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
        if x.dtype not in (np.uint8, np.bool_):
            raise self._error(f"must hold uint8, bool or floats; {name} is {x.dtype}")
        if x.dtype == np.uint8 and x.max() == 1:
            raise self._error(f"has only 0 and 1 of 255 in {name}; save black and white as bool")
        return x

    def _images(self, x: np.ndarray, name: str) -> np.ndarray:
        """(N, C, H, W), contiguous."""
        wanted = self._wanted_shape
        if x.ndim == 2:
            fits = wanted is not None and np.prod(wanted) == x.shape[1]
            x = x.reshape(len(x), *(wanted if fits and wanted is not None else (1, 1, x.shape[1])))
        elif x.ndim == 3:
            x = x[:, None]
        else:
            last = np.moveaxis(x, -1, 1)
            if wanted in (x.shape[1:], last.shape[1:]):
                x = x if wanted == x.shape[1:] else last
            elif x.shape[1] not in _LIKELY_CHANNELS and x.shape[-1] in _LIKELY_CHANNELS:
                x = last
        return np.ascontiguousarray(x)


def _form(array: np.ndarray) -> str:
    return f"{array.dtype} of shape {tuple(array.shape)}"

"""Arrays from .npy and .npz files of any origin; sizes are checked before anything is inflated or allocated."""

import math
import os
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from aevb.files import open_file

MAX_MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2 if hasattr(os, "sysconf") else 4 << 30
"""Limit on the bytes of the arrays: half of the machine's memory, as they are copied."""

MAX_RATIO, HARMLESS_BYTES = 100, 256 << 20
"""Largest ratio of inflated to stored bytes, which images do not reach, for arrays above a harmless size."""


def read_arrays(path: Path, choose: Callable[[Sequence[str]], Iterable[str]]) -> dict[str, np.ndarray]:
    """Arrays of a file by name; "x" for a .npy file. `choose` selects from the names in a .npz file.

    Raises:
        ValueError: the file is of another kind, damaged, encrypted, has Python objects, or does not fit in memory.
    """
    with open_file(path, None, MAX_MEMORY) as file:
        if file.read(2) != b"PK":
            return {"x": read_array(file, file.seek(0, os.SEEK_END))}
        with zipfile.ZipFile(file) as archive:
            entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            chosen = {name: entries[name] for name in choose(list(entries))}
            size = sum(entry.file_size for entry in chosen.values())
            packed = sum(entry.compress_size for entry in chosen.values())
            if any(entry.flag_bits & 1 for entry in chosen.values()):
                raise ValueError("it is encrypted")
            if size > MAX_MEMORY or (size > HARMLESS_BYTES and size > MAX_RATIO * packed):
                raise ValueError(f"its {packed:,} bytes inflate to {size:,}; save it by numpy.savez, uncompressed")
            arrays = {}
            for name, entry in chosen.items():
                with archive.open(entry) as part:
                    arrays[name] = read_array(part, entry.file_size)
            return arrays


def read_array(file: IO[bytes], size: int) -> np.ndarray:
    """The array of a .npy file of `size` bytes, which must match its header."""
    file.seek(0)
    version = npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(file)
    needed = math.prod(shape, start=dtype.itemsize)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, not numbers; pad sequences to one length, and save their lengths")
    if needed != size - file.tell():
        raise ValueError(f"it should hold {needed:,} bytes of numbers, and holds {size - file.tell():,}")
    file.seek(0)
    array: np.ndarray = npy.read_array(file, allow_pickle=False)
    return array

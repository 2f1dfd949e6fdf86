"""Frey Face: a video of one face."""

import hashlib
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Interval
from torch import Tensor

from aevb.data.download import download
from aevb.data.module import InMemoryDataModule, Split, Splits, split_at_random
from aevb.errors import ConfigError
from aevb.files import read_file
from aevb.types import Count

SIZE = 1965 * 560
FIRST_PIXELS = bytes.fromhex("5188a7b9bbc1cbdee0e2e2e2e2e2e2e2e1e1a04a698ba5b7becdd7e0e0e0e0e1")
PIXELS_SHA256 = "2438ba4f0d2a6bd8bac43de756141eaa33c8d248dd613d464bdb1210d9b7af78"
"""Of the 1965 × 560 pixels, frame by frame, each row by row."""

MAX_BYTES = 16_000_000


URLS = (
    "https://cs.nyu.edu/~roweis/data/frey_rawface.mat",
    "http://www.cs.nyu.edu/~roweis/data/frey_rawface.mat",
)


class FreyFace(InMemoryDataModule):
    """1965 grey frames of Brendan Frey's face, 28×20: 1565 to train on, 200 each for validation and test, by seed.

    There are no labels. The frames are read from `<root>/FreyFace/frey_rawface.mat`, downloaded if it is not there
    (1 MB), and always checked against the SHA-256 of their pixels.

    Source: Brendan Frey and Sam Roweis, https://cs.nyu.edu/~roweis/data.html.

    Args:
        root: The folder of all data sets.
        urls: Of `frey_rawface.mat`, tried in this order.
        kwargs: See `InMemoryDataModule`.
    """

    def __init__(self, root: str | os.PathLike[str], urls: Sequence[str] = URLS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path = Path(root).expanduser() / "FreyFace" / "frey_rawface.mat"
        self.urls = list(urls)

    def prepare_data(self) -> None:
        """Download the file if it is missing."""
        download(self.urls, self.path, accept=verified, max_bytes=MAX_BYTES)

    def load(self) -> Splits:
        """Read and verify the file."""
        return split_at_random(Split(self.read()), 200, 200, self.split_seed)

    def read(self) -> Tensor:
        """The frames (1965, 1, 28, 20), uint8, in the order of the video."""
        try:
            return torch.from_numpy(frames(read_file(self.path, None, MAX_BYTES)))
        except ValueError as error:
            raise ConfigError(
                f"data: cannot read {self.path.absolute()} ({error}); delete it to have it downloaded again"
            ) from error


class FreyFaceVideo(FreyFace):
    """Windows of consecutive frames of Frey Face: x (length, 1, 28, 20).

    The first 1565 frames are trained on, the next 200 are for validation, the last 200 for the test: a split by chance
    would put frames between their own neighbours. Windows of the training set start every `stride` frames, those of the
    other splits follow one another, and what is left at the end is dropped. There are no labels.

    Args:
        root: See `FreyFace`.
        urls: See there.
        length: Frames of a window, T.
        stride: Frames between the starts of two windows of the training set.
        kwargs: See `InMemoryDataModule`.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        urls: Sequence[str] = URLS,
        length: Annotated[int, Interval(ge=1, le=200)] = 20,
        stride: Count = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, urls, **kwargs)
        self.length, self.stride = length, stride

    def load(self) -> Splits:
        """Read and verify the file, and cut windows."""
        train, val, test = self.read().split([1565, 200, 200])
        held_out = (Split(windows(part, self.length, self.length)) for part in (val, test))
        return Splits(Split(windows(train, self.length, self.stride)), *held_out)


def windows(frames: Tensor, length: int, stride: int) -> Tensor:
    """Windows of consecutive frames (N, ...), one every `stride` frames: (M, length, ...)."""
    starts = range(0, len(frames) - length + 1, stride)
    return torch.stack([frames[start : start + length] for start in starts])


def frames(file: bytes) -> np.ndarray:
    """The frames (1965, 1, 28, 20), uint8, in the order of the video.

    The file is not parsed: in every version of MATLAB's format the pixels are contiguous, and their beginning is known.
    Of a compressed variable, no more is inflated than a file of them may have.

    Args:
        file: The content of `frey_rawface.mat`, whose variable `ff` has one column per frame.

    Raises:
        ValueError: it is another file.
    """
    if file[128:132] in (b"\x0f\0\0\0", b"\0\0\0\x0f"):
        try:
            file = zlib.decompressobj().decompress(file[136:], MAX_BYTES)
        except zlib.error as error:
            raise ValueError(f"it is damaged: {error}") from error
    start = max(0, file.find(FIRST_PIXELS))
    pixels = file[start : start + SIZE]
    if hashlib.sha256(pixels).hexdigest() != PIXELS_SHA256:
        raise ValueError("not the published Frey Face pixels, their SHA-256 differs")
    return np.frombuffer(pixels, np.uint8).reshape(1965, 1, 28, 20).copy()


def verified(file: bytes) -> bytes:
    """The file itself, if it has the published pixels; raises ValueError otherwise."""
    frames(file)
    return file

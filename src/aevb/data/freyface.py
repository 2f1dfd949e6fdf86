"""Frey Face, a video of one face."""

import hashlib
import os
import zlib
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Interval
from torch import Tensor

from aevb.data.module import Split, Splits, split_at_random
from aevb.data.published import File, PublishedDataModule
from aevb.types import Count

SIZE = 1965 * 560
FIRST_PIXELS = bytes.fromhex("5188a7b9bbc1cbdee0e2e2e2e2e2e2e2e1e1a04a698ba5b7becdd7e0e0e0e0e1")
PIXELS_SHA256 = "2438ba4f0d2a6bd8bac43de756141eaa33c8d248dd613d464bdb1210d9b7af78"
"""Digest of the 1965 × 560 pixels, frame by frame, row by row."""
MAX_BYTES = 16_000_000
URLS = (
    "https://cs.nyu.edu/~roweis/data/frey_rawface.mat",
    "http://www.cs.nyu.edu/~roweis/data/frey_rawface.mat",
)


class FreyFaceFile(File):
    """A file with the published pixels; the servers have it in several versions of MATLAB's format."""

    def verified(self, content: bytes) -> bytes:
        frames(content)
        return content


class FreyFace(PublishedDataModule):
    """1965 grey 28×20 frames of Brendan Frey's face, unlabelled: 1565 for training, 200 each for validation and test.

    The split is random by `split_seed`. The file `<root>/FreyFace/frey_rawface.mat` is downloaded if it is missing
    (1 MB), and its pixels are verified whenever it is read.

    Source: Brendan Frey and Sam Roweis, https://cs.nyu.edu/~roweis/data.html.

    Args:
        root: The folder of all data sets.
        urls: URLs of the file, in order of preference.
        kwargs: See `InMemoryDataModule`.
    """

    subfolder = "FreyFace"

    def __init__(self, root: str | os.PathLike[str], urls: Sequence[str] = URLS, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.files = (FreyFaceFile("frey_rawface.mat", tuple(urls), PIXELS_SHA256, MAX_BYTES),)

    def read(self, content: dict[str, bytes]) -> Splits:
        video = torch.from_numpy(frames(*content.values()))
        return split_at_random(Split(video), 200, 200, self.split_seed)


class FreyFaceVideo(FreyFace):
    """Windows of consecutive frames of Frey Face: x (length, 1, 28, 20).

    The first 1565 frames are for training, the next 200 for validation, the last 200 for the test, as a random split
    would separate neighbouring frames. Windows of the training set start every `stride` frames; those of the other
    splits do not overlap, and drop the remaining frames. There are no labels.

    Args:
        root: See `FreyFace`.
        urls: See `FreyFace`.
        length: Frames per window, T.
        stride: Frames between the starts of successive training windows.
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

    def read(self, content: dict[str, bytes]) -> Splits:
        train, val, test = torch.from_numpy(frames(*content.values())).split([1565, 200, 200])
        held_out = (Split(windows(part, self.length, self.length)) for part in (val, test))
        return Splits(Split(windows(train, self.length, self.stride)), *held_out)


def windows(frames: Tensor, length: int, stride: int) -> Tensor:
    """Windows of consecutive frames (N, ...), one every `stride` frames: (M, length, ...)."""
    starts = range(0, len(frames) - length + 1, stride)
    return torch.stack([frames[start : start + length] for start in starts])


def frames(file: bytes) -> np.ndarray:
    """The frames (1965, 1, 28, 20), uint8, in the order of the video.

    The file is not parsed: in all versions of MATLAB's format the pixels are contiguous, and the first ones are known.

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

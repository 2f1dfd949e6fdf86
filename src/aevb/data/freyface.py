"""Frey Face: a video of one face."""

import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import torch

from aevb.data.download import download
from aevb.data.module import InMemoryDataModule, Split, Splits, split_at_random

PIXELS_SHA256 = "2438ba4f0d2a6bd8bac43de756141eaa33c8d248dd613d464bdb1210d9b7af78"
"""Of the 1965 × 560 pixels, frame by frame, each row by row."""


class FreyFace(InMemoryDataModule):
    """1965 grey frames of Brendan Frey's face, 28×20: 1565 to train on, 200 each for validation and test, by seed.

    There are no labels. The frames are read from `<root>/FreyFace/frey_rawface.mat`, downloaded if it is not there
    (1 MB), and always checked against the SHA-256 of their pixels.

    Source: Brendan Frey and Sam Roweis, https://cs.nyu.edu/~roweis/data.html.

    Args:
        root: the folder of all data sets.
        urls: where to download `frey_rawface.mat`, tried in this order.
        kwargs: see `InMemoryDataModule`.
    """

    def __init__(self, root: str | os.PathLike[str], urls: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path = Path(root).expanduser() / "FreyFace" / "frey_rawface.mat"
        self.urls = list(urls)

    def prepare_data(self) -> None:
        """Downloads the file if it is not there.

        Raises:
            DownloadError: no URL gave the right file, or `root` cannot be written.
        """
        download(self.urls, self.path, verify=frames, max_bytes=16_000_000)

    def load(self) -> Splits:
        """Reads and verifies the file."""
        try:
            x = frames(self.path.read_bytes())
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ValueError(
                f"data: cannot read {self.path.absolute()} ({reason}); delete it to have it downloaded again"
            ) from error
        return split_at_random(Split(torch.from_numpy(x)), 200, 200, self.split_seed)


def frames(file: bytes) -> np.ndarray:
    """The frames (1965, 1, 28, 20), uint8, in the order of the video.

    Args:
        file: the content of `frey_rawface.mat`: a MATLAB file whose variable `ff` has one column per frame.

    Raises:
        ValueError: it is another file, or not the published pixels.
    """
    try:
        pixels = np.ascontiguousarray(scipy.io.loadmat(io.BytesIO(file), variable_names="ff")["ff"].T)
    # The reader of MATLAB files raises whatever a damaged file leads it to.
    except Exception as error:
        raise ValueError("not a MATLAB file with the variable ff") from error
    if pixels.dtype != np.uint8 or hashlib.sha256(pixels.tobytes()).hexdigest() != PIXELS_SHA256:
        raise ValueError("not the published Frey Face pixels, their SHA-256 differs")
    return pixels.reshape(1965, 1, 28, 20)

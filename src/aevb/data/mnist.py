"""MNIST."""

import hashlib
import os
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aevb.data.download import download
from aevb.data.module import InMemoryDataModule, Split, Splits
from aevb.errors import ConfigError
from aevb.files import read_file

URLS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/")

FILES = {
    "train-images-idx3-ubyte": (47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    "train-labels-idx1-ubyte": (60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    "t10k-images-idx3-ubyte": (7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    "t10k-labels-idx1-ubyte": (10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
}
"""Size and SHA-256 of the unpacked files: a header of 16 (images) or 8 (labels) bytes, then one byte per value."""


class MNIST(InMemoryDataModule):
    """70,000 grey 28×28 images of handwritten digits, with labels.

    The last 10,000 of the 60,000 training images are for validation; there are 10,000 test images. The files are in
    `<root>/MNIST/raw`, unpacked, as in torchvision, and are downloaded if they are missing (11 MB).

    Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits.

    Args:
        root: The folder of all data sets.
        kwargs: See `InMemoryDataModule`.
    """

    def __init__(self, root: str | os.PathLike[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.raw = Path(root).expanduser() / "MNIST" / "raw"

    def prepare_data(self) -> None:
        """Download missing files."""
        for name in FILES:
            urls = [f"{url}{name}.gz" for url in URLS]
            accept = partial(unpacked, name)
            download(urls, self.raw / name, accept=accept, max_bytes=20_000_000, note=", unpacked")

    def load(self) -> Splits:
        """Read the four files."""
        x, y, x_test, y_test = (self._read(name) for name in FILES)
        return Splits(Split(x[:-10_000], y[:-10_000]), Split(x[-10_000:], y[-10_000:]), Split(x_test, y_test))

    def _read(self, name: str) -> Tensor:
        """Images (N, 1, 28, 28), uint8, or labels (N,), int64."""
        size, _ = FILES[name]
        try:
            content = read_file(self.raw / name, None, size)
            if len(content) != size:
                raise ConfigError(f"{name} has {len(content)} bytes, not {size}")
        except ConfigError as error:
            raise ConfigError(
                f"data: cannot read MNIST from {self.raw.absolute()} ({error}); delete the files there to have them"
                " downloaded again"
            ) from error
        if "labels" in name:
            return torch.from_numpy(np.frombuffer(content, np.uint8, offset=8).astype(np.int64))
        return torch.from_numpy(np.frombuffer(content, np.uint8, offset=16).copy()).view(-1, 1, 28, 28)


class MNISTRows(MNIST):
    """MNIST as sequences of 28 steps, the rows of an image from top to bottom: x (28, 28); see `MNIST`."""

    def load(self) -> Splits:
        """Read the four files."""
        return Splits(*(split._replace(x=split.x.squeeze(1)) for split in super().load()))


def unpacked(name: str, packed: bytes) -> bytes:
    """The content of a gzipped file of `FILES`, inflated to at most its known size.

    Raises:
        ValueError: it is another file.
    """
    size, sha256 = FILES[name]
    try:
        content = zlib.decompressobj(wbits=31).decompress(packed, size)
    except zlib.error as error:
        raise ValueError(f"not a gzip file: {error}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError("not the published file, its SHA-256 differs")
    return content

"""Data sets that are published as files of known content."""

import hashlib
import os
import zlib
from abc import abstractmethod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from aevb.data.download import download
from aevb.data.module import InMemoryDataModule, Split, Splits
from aevb.errors import ConfigError
from aevb.files import read_file


class File(NamedTuple):
    """A published file."""

    name: str
    """In the data set's folder."""
    urls: tuple[str, ...]
    """In order of preference."""
    digest: str
    """`sha256:…` or `md5:…` of its content."""
    max_bytes: int
    unpack: bool = False
    """Whether it is published gzipped, and kept unpacked; the digest is that of the unpacked file."""

    def verified(self, content: bytes) -> bytes:
        """The content, if it is that of the file; raises ValueError otherwise."""
        algorithm, _, digest = self.digest.partition(":")
        if hashlib.new(algorithm, content, usedforsecurity=False).hexdigest() != digest:
            raise ValueError(f"not the published file, its {algorithm.upper()} differs")
        return content

    def accepted(self, downloaded: bytes) -> bytes:
        """The content of a download, inflated to at most `max_bytes`; raises ValueError if it is another file."""
        if not self.unpack:
            return self.verified(downloaded)
        try:
            return self.verified(zlib.decompressobj(wbits=31).decompress(downloaded, self.max_bytes))
        except zlib.error as error:
            raise ValueError(f"not a gzip file: {error}") from error


class PublishedDataModule(InMemoryDataModule):
    """A data set whose files are downloaded if they are not there, and verified each time they are read.

    A data set is a subclass with `files` and `read`; its folder in `root` has the name of the class, or `subfolder`.

    Args:
        root: The folder of all data sets.
        kwargs: See `InMemoryDataModule`.
    """

    files: tuple[File, ...]
    subfolder = ""
    num_val: int | None = 10_000
    """The number of training datapoints that `hold_out` takes for validation; None: as many as for the test."""

    def __init__(self, root: str | os.PathLike[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = Path(root).expanduser() / (self.subfolder or type(self).__name__)

    @abstractmethod
    def read(self, content: dict[str, bytes]) -> Splits:
        """The splits, from the verified files."""

    def prepare_data(self) -> None:
        """Download missing files."""
        for file in self.files:
            path, note = self.folder / file.name, ", unpacked" if file.unpack else ""
            download(file.urls, path, accept=file.accepted, max_bytes=file.max_bytes, deadline=3600, note=note)

    def load(self) -> Splits:
        """Read and verify the files."""
        return self.read({file.name: self._content(file) for file in self.files})

    def hold_out(self, train: Split, test: Split) -> Splits:
        """The splits, where no validation set is published: it is the last of the training datapoints."""
        size = self.num_val or len(test.x)
        return Splits(train.take(slice(None, -size)), train.take(slice(-size, None)), test)

    def _content(self, file: File) -> bytes:
        path = self.folder / file.name
        try:
            return file.verified(read_file(path, None, file.max_bytes))
        except ValueError as error:
            raise ConfigError(
                f"data: cannot read {path.absolute()} ({error}); delete it to have it downloaded again"
            ) from error


def images(x: np.ndarray, y: np.ndarray | None = None) -> Split:
    """Images (N, C, H, W), or grey ones (N, H, W), with integer labels (N,), as a split."""
    x = np.require(x[:, None] if x.ndim == 3 else x, requirements=["C", "W"])
    return Split(torch.from_numpy(x), None if y is None else torch.from_numpy(y.astype(np.int64)))

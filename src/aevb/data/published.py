"""Data sets that are published as files of known content."""

import hashlib
import os
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

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
    url: str
    digest: str
    """`sha256:…` or `md5:…` of its content."""
    max_bytes: int

    def verified(self, content: bytes) -> bytes:
        """The content, if it is that of the file; raises ValueError otherwise."""
        algorithm, _, digest = self.digest.partition(":")
        if hashlib.new(algorithm, content, usedforsecurity=False).hexdigest() != digest:
            raise ValueError(f"not the published file, its {algorithm.upper()} differs")
        return content


class PublishedDataModule(InMemoryDataModule):
    """A data set whose files are downloaded if they are not there, and verified each time they are read.

    A data set is a subclass with the attributes below and `read`; its folder in `root` has the name of the class.

    Args:
        root: The folder of all data sets.
        kwargs: See `InMemoryDataModule`.
    """

    files: ClassVar[tuple[File, ...]]
    sizes: tuple[int, int]
    """The published numbers of datapoints for training, those for validation included, and for the test."""
    num_val: int
    """The last so many training datapoints are for validation."""

    def __init__(self, root: str | os.PathLike[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = Path(root).expanduser() / type(self).__name__

    @abstractmethod
    def read(self, content: dict[str, bytes]) -> tuple[Split, Split]:
        """The training datapoints, those for validation included, and those for the test; from the verified files."""

    def prepare_data(self) -> None:
        """Download missing files."""
        for file in self.files:
            path = self.folder / file.name
            download([file.url], path, accept=file.verified, max_bytes=file.max_bytes, deadline=3600)

    def load(self) -> Splits:
        """Read and verify the files."""
        train, test = self.read({file.name: self._content(file) for file in self.files})
        found = len(train.x), len(test.x)
        if found != self.sizes:
            raise ConfigError(
                f"data: {type(self).__name__} has {found} datapoints for training and test, not {self.sizes}"
            )
        return self.split(train, test)

    def split(self, train: Split, test: Split) -> Splits:
        """Hold the validation set out of the training datapoints."""
        rows = torch.arange(len(train.x))
        return Splits(train.take(rows[: -self.num_val]), train.take(rows[-self.num_val :]), test)

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

"""MNIST, by torchvision."""

import os
import socket
import tempfile
import zlib
from pathlib import Path
from typing import Any

import torch

from aevb.data.download import lock
from aevb.data.module import InMemoryDataModule, Split, Splits
from aevb.errors import DownloadError

_FILES = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
_TIMEOUT = 30


class MNIST(InMemoryDataModule):
    """70,000 grey 28×28 images of handwritten digits, with labels.

    The first 50,000 training images are trained on, the last 10,000 of them are for validation, and the 10,000 test
    images are for the test. The files are those of `torchvision.datasets.MNIST(root)`, in `<root>/MNIST/raw`, and
    torchvision downloads them if they are not there (11 MB).

    Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits.

    Args:
        root: the folder of all data sets.
        kwargs: see `InMemoryDataModule`.
    """

    def __init__(self, root: str | os.PathLike[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = Path(root).expanduser()

    @property
    def _raw(self) -> Path:
        return self.root / "MNIST" / "raw"

    def prepare_data(self) -> None:
        """Downloads the files if they are not there; nothing is written, and no lock taken, if they are.

        Raises:
            DownloadError: the download failed, or `root` cannot be written.
        """
        if self._complete():
            return
        with lock(self._raw):
            if not self._complete():
                try:
                    self._download()
                # torchvision lets many kinds of error through: of the network, of decompression, and its own.
                except (OSError, RuntimeError, EOFError, zlib.error) as error:
                    raise DownloadError(
                        f"could not download MNIST ({' '.join(str(error).split()) or repr(error)}); put the files"
                        f" {', '.join(_FILES)}, uncompressed, into {self._raw.absolute()}, or set paths.data to the"
                        " folder that has MNIST/raw"
                    ) from error

    def load(self) -> Splits:
        """Reads the four files."""
        x, y = self._read(train=True, size=60_000)
        x_test, y_test = self._read(train=False, size=10_000)
        return Splits(Split(x[:-10_000], y[:-10_000]), Split(x[-10_000:], y[-10_000:]), Split(x_test, y_test))

    def _complete(self) -> bool:
        return all((self._raw / name).is_file() for name in _FILES)

    def _download(self) -> None:
        from torchvision import datasets  # takes seconds, which other data sets need not wait for

        self.root.mkdir(parents=True, exist_ok=True)
        # Into a folder of its own first: torchvision takes a file that is there for whole, also when an earlier
        # download was stopped in the middle of it. And torchvision itself would wait for a silent server for ever.
        patience = socket.getdefaulttimeout()
        socket.setdefaulttimeout(_TIMEOUT)
        try:
            with tempfile.TemporaryDirectory(dir=self.root, prefix=".mnist-") as folder:
                datasets.MNIST(folder, download=True)
                self._raw.mkdir(parents=True, exist_ok=True)
                for name in _FILES:
                    Path(folder, "MNIST", "raw", name).replace(self._raw / name)
        finally:
            socket.setdefaulttimeout(patience)

    def _read(self, train: bool, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        from torchvision import datasets  # see above

        try:
            part = datasets.MNIST(self.root, train=train, download=False)
            x, y = part.data.unsqueeze(1), part.targets
            if x.shape != (size, 1, 28, 28) or x.dtype != torch.uint8 or y.shape != (size,):
                raise ValueError(f"expected {size} images of 28x28, found {tuple(part.data.shape)}")
        except (OSError, RuntimeError, ValueError, AssertionError, KeyError) as error:
            reason = " ".join(str(error).split()) or "the files are damaged"
            raise ValueError(
                f"data: cannot read MNIST from {self._raw.absolute()} ({reason}); delete the files there to have them"
                " downloaded again"
            ) from error
        return x, y

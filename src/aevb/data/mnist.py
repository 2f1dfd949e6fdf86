"""MNIST, and the format of its files."""

import gzip
from collections.abc import Sequence

import numpy as np

from aevb.data.module import Splits
from aevb.data.published import File, PublishedDataModule, images

URLS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/")
PARTS = tuple(f"{part}-{what}" for part in ("train", "t10k") for what in ("images-idx3-ubyte", "labels-idx1-ubyte"))


def gzipped(urls: Sequence[str], *sha256: str, unpack: bool = False) -> tuple[File, ...]:
    """The four files of a data set, by the URLs of their folder; unpacked when they are downloaded, or kept packed."""
    return tuple(
        File(
            name=f"raw/{part}" if unpack else f"raw/{part}.gz",
            urls=tuple(f"{url}{part}.gz" for url in urls),
            digest=f"sha256:{digest}",
            max_bytes=48_000_000,
            unpack=unpack,
        )
        for part, digest in zip(PARTS, sha256, strict=True)
    )


def idx(content: bytes) -> np.ndarray:
    """The array of bytes in a file of MNIST's format, which may be gzipped.

    The last byte of its first number is the number of dimensions; sizes and values follow.
    """
    content = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    shape = np.frombuffer(content, ">u4", content[3], 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape).copy()


class MNIST(PublishedDataModule):
    """70,000 grey 28×28 images of handwritten digits, with labels.

    The last 10,000 of the 60,000 training images are for validation; there are 10,000 test images. The files are in
    `<root>/MNIST/raw`, unpacked, as in torchvision, and are downloaded if they are missing (11 MB).

    Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits.

    Args:
        root: The folder of all data sets.
        kwargs: See `InMemoryDataModule`.
    """

    files = gzipped(
        URLS,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        unpack=True,
    )

    def read(self, content: dict[str, bytes]) -> Splits:
        x, y, x_test, y_test = map(idx, content.values())
        return self.hold_out(images(x, y), images(x_test, y_test))


class MNISTRows(MNIST):
    """MNIST as sequences of 28 steps, the rows of an image from top to bottom: x (28, 28); see `MNIST`."""

    subfolder = "MNIST"

    def read(self, content: dict[str, bytes]) -> Splits:
        return Splits(*(split._replace(x=split.x.squeeze(1)) for split in super().read(content)))

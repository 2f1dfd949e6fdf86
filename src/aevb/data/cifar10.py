"""CIFAR-10."""

import io
import tarfile

import numpy as np

from aevb.data.module import Split, Splits
from aevb.data.published import File, PublishedDataModule, images

_RECORD = 1 + 3 * 32 * 32
"""Bytes of an image: its label, then its values (C, H, W)."""


class CIFAR10(PublishedDataModule):
    """60,000 colour 32×32 images of ten classes: 45,000 to train on, 5000 for validation, 10,000 for the test.

    The last training images are for validation. The file is the binary version, `<root>/CIFAR10/cifar-10-binary.tar.gz`
    (170 MB), which is no pickle.

    Source: Krizhevsky, Learning multiple layers of features from tiny images (2009); digest of TensorFlow Datasets.
    """

    num_val = 5000
    files = (
        File(
            "cifar-10-binary.tar.gz",
            ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
            "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            180_000_000,
        ),
    )

    def read(self, content: dict[str, bytes]) -> Splits:
        with tarfile.open(fileobj=io.BytesIO(*content.values())) as archive:
            found = {member.name.rpartition("/")[2]: archive.extractfile(member) for member in archive}
            parts = {name: file.read() for name, file in found.items() if file and name.endswith(".bin")}
        train = b"".join(parts[f"data_batch_{i}.bin"] for i in range(1, 6))
        return self.hold_out(records(train), records(parts["test_batch.bin"]))


def records(content: bytes) -> Split:
    """Images and labels of records."""
    values = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    return images(values[:, 1:].reshape(-1, 3, 32, 32), values[:, 0])

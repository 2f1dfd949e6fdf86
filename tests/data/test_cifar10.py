"""CIFAR-10 from a small archive."""

import io
import tarfile

import numpy as np
import torch

from aevb.data import CIFAR10


def test_cifar10(stand_in):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (13, 3, 32, 32), np.uint8), rng.integers(0, 10, 13, np.uint8)
    parts = {f"data_batch_{i + 1}.bin": slice(2 * i, 2 * i + 2) for i in range(5)} | {"test_batch.bin": slice(10, 13)}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in reversed(["batches.meta.txt", *parts]):
            rows = parts.get(name, slice(0))
            content = b"".join(bytes([label]) + image.tobytes() for label, image in zip(y[rows], x[rows], strict=True))
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    dm = stand_in(CIFAR10, [buffer.getvalue()], 2)
    assert [len(split.x) for split in dm.splits] == [8, 2, 3]
    assert np.array_equal(torch.cat([split.x for split in dm.splits]), x)
    assert np.array_equal(torch.cat([split.y for split in dm.splits]), y)

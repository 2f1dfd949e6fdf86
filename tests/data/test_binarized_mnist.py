"""The fixed binarization of MNIST from small files."""

import numpy as np
import torch

from aevb.data import BinarizedMNIST


def test_binarized_mnist(stand_in):
    x = np.random.default_rng(0).random((9, 28, 28)) < 0.3
    files = [
        b"".join(b" ".join(b"01"[v : v + 1] for v in image.ravel()) + b"\n" for image in x[part].astype(int))
        for part in (slice(4), slice(4, 6), slice(6, 9))
    ]
    dm = stand_in(BinarizedMNIST, files)
    assert [len(split.x) for split in dm.splits] == [4, 2, 3]
    assert np.array_equal(torch.cat([split.x for split in dm.splits])[:, 0], x)
    assert dm.splits.train.y is None
    # As many bytes as the published numbers of datapoints need.
    assert [file.max_bytes for file in BinarizedMNIST.files] == [2 * 784 * n for n in (50_000, 10_000, 10_000)]

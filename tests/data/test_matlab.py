"""Data sets in MATLAB's format, from small files that scipy writes."""

import io

import numpy as np
import torch
from scipy.io import savemat

from aevb.data import SVHN, Caltech101Silhouettes, Omniglot

RNG = np.random.default_rng(0)


def file_of(**arrays):
    buffer = io.BytesIO()
    savemat(buffer, arrays, do_compression=True)
    return buffer.getvalue()


def test_omniglot(stand_in):
    x = RNG.random((12, 28, 28))
    alphabet = RNG.integers(0, 50, 12)
    by_columns, one_hot = x.transpose(0, 2, 1).reshape(12, 784).T, np.eye(50)[alphabet].T
    content = file_of(
        data=by_columns[:, :9], target=one_hot[:, :9], testdata=by_columns[:, 9:], testtarget=one_hot[:, 9:]
    )
    dm = stand_in(Omniglot, [content], 2)
    assert [len(split.x) for split in dm.splits] == [7, 2, 3]
    assert dm.splits.train.x.dtype == torch.float32
    assert np.array_equal(dm.splits.test.x[:, 0], x[9:].astype(np.float32))
    assert np.array_equal(dm.splits.test.y, alphabet[9:])
    # The validation set is drawn, and the same again.
    assert torch.equal(dm.splits.val.x, stand_in(Omniglot, [content], 2).splits.val.x)
    both = torch.cat([dm.splits.train.x, dm.splits.val.x])[:, 0].flatten(1).numpy()
    assert np.array_equal(np.unique(both, axis=0), np.unique(x[:9].reshape(9, -1).astype(np.float32), axis=0))


def test_caltech_silhouettes(stand_in):
    x = RNG.integers(0, 2, (9, 28, 28), np.uint8)
    y = RNG.integers(1, 102, (9, 1))
    rows = x.transpose(0, 2, 1).reshape(9, 784)
    content = file_of(
        train_data=rows[:4], val_data=rows[4:6], test_data=rows[6:],
        train_labels=y[:4], val_labels=y[4:6], test_labels=y[6:],
    )  # fmt: skip
    dm = stand_in(Caltech101Silhouettes, [content])
    assert [len(split.x) for split in dm.splits] == [4, 2, 3]
    assert dm.splits.train.x.dtype == torch.bool
    assert np.array_equal(torch.cat([split.x for split in dm.splits])[:, 0], x)
    assert np.array_equal(torch.cat([split.y for split in dm.splits]), y.ravel() - 1)


def test_svhn(stand_in):
    x = RNG.integers(0, 256, (9, 3, 32, 32), np.uint8)
    y = np.array([1, 2, 10, 3, 4, 5, 10, 9, 8])
    files = [file_of(X=x[part].transpose(2, 3, 1, 0), y=y[part, None]) for part in (slice(6), slice(6, 9))]
    dm = stand_in(SVHN, files, 2)
    assert np.array_equal(torch.cat([split.x for split in dm.splits]), x)
    assert torch.cat([split.y for split in dm.splits]).tolist() == [1, 2, 0, 3, 4, 5, 0, 9, 8]

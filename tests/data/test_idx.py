"""Data sets in MNIST's format, from small files of that format."""

import gzip
import io
import struct
import zipfile

import numpy as np
import pytest
import torch

from aevb.data import EMNIST, KMNIST, FashionMNIST
from aevb.data.mnist import PARTS, idx

RNG = np.random.default_rng(0)
ARRAYS = [RNG.integers(0, 256, (n, 28, 28), np.uint8) if k == 0 else RNG.integers(0, 10, n, np.uint8)
          for n in (8, 3) for k in (0, 1)]  # fmt: skip


def file_of(array):
    """As http://yann.lecun.com/exdb/mnist describes it: type and dimensions, sizes with the high byte first, values."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.mark.parametrize("array", ARRAYS)
def test_files_give_the_arrays_that_were_written(array):
    assert np.array_equal(idx(file_of(array)), array)


@pytest.mark.parametrize("cls", [FashionMNIST, KMNIST])
def test_packed_files(stand_in, cls):
    dm = stand_in(cls, [gzip.compress(file_of(array)) for array in ARRAYS], 2)
    assert np.array_equal(torch.cat([dm.splits.train.x, dm.splits.val.x])[:, 0], ARRAYS[0])
    assert np.array_equal(dm.splits.val.y, ARRAYS[1][-2:])
    assert np.array_equal(dm.splits.test.x[:, 0], ARRAYS[2])
    assert np.array_equal(dm.splits.test.y, ARRAYS[3])


def test_the_published_files():
    for cls, name in ((FashionMNIST, "FashionMNIST"), (KMNIST, "KMNIST")):
        assert [file.name for file in cls.files] == [f"raw/{part}.gz" for part in PARTS]
        assert cls(root="data").folder.name == name


def test_emnist_reads_one_subset_of_the_archive(stand_in):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for subset in ("letters", "balanced"):
            for part, array in zip(PARTS, ARRAYS, strict=True):
                x = array if subset == "balanced" else array[:2] + (array.ndim == 1)  # letters are numbered from 1
                name = f"gzip/emnist-{subset}-{part.replace('t10k', 'test')}.gz"
                archive.writestr(name, gzip.compress(file_of(x)))
    dm = stand_in(EMNIST, [buffer.getvalue()])
    # Stored column by column: what is upright here is transposed in the file.
    assert np.array_equal(dm.splits.test.x[:, 0], ARRAYS[2].transpose(0, 2, 1))
    assert np.array_equal(dm.splits.train.y, ARRAYS[1][:5])
    letters = EMNIST("data", subset="letters").read({"gzip.zip": buffer.getvalue()})
    assert np.array_equal(letters.test.y, ARRAYS[3][:2])
    with pytest.raises(ValueError, match="subset"):
        EMNIST("data", subset="capitals")

"""MNIST, from the folder AEVB_DATA_DIR where it is set."""

import hashlib
import os
import re
import shutil
from pathlib import Path

import pytest
import torch

from aevb.data import MNIST, MNISTRows

FOLDER = os.environ.get("AEVB_DATA_DIR")
real_data = pytest.mark.skipif(not FOLDER, reason="set AEVB_DATA_DIR to the folder with MNIST and FreyFace")


@real_data
def test_mnist():
    dm = MNIST(root=FOLDER, shape=[1, 28, 28])
    dm.prepare_data()
    train, val, test = dm.splits
    assert [tuple(split.x.shape) for split in dm.splits] == [
        (50_000, 1, 28, 28),
        (10_000, 1, 28, 28),
        (10_000, 1, 28, 28),
    ]
    # The published file: a header of 16 bytes, then the pixels.
    file = Path(FOLDER, "MNIST/raw/train-images-idx3-ubyte").read_bytes()
    assert hashlib.md5(file).hexdigest() == "6bbc9ace898e44ae57da46a324031adb"
    assert torch.cat([train.x, val.x]).numpy().tobytes() == file[16:]
    assert test.x.numpy().tobytes() == Path(FOLDER, "MNIST/raw/t10k-images-idx3-ubyte").read_bytes()[16:]
    assert train.y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert test.y[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert torch.cat([train.y, val.y]).bincount().tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip


@real_data
def test_rows_are_those_of_the_images():
    images, rows = MNIST(root=FOLDER).splits, MNISTRows(root=FOLDER, shape=[28, 28]).splits
    assert rows.val.x.shape == (10_000, 28, 28)
    assert all(torch.equal(a.x[:, 0], b.x) and torch.equal(a.y, b.y) for a, b in zip(images, rows, strict=True))


@real_data
@pytest.mark.parametrize("damage", ["truncated", "empty", "wrong", "missing"])
def test_damaged_mnist_gets_one_line(tmp_path, damage):
    shutil.copytree(Path(FOLDER, "MNIST"), tmp_path / "MNIST", copy_function=os.symlink)
    file = tmp_path / "MNIST/raw/t10k-images-idx3-ubyte"
    content = file.read_bytes()
    file.unlink()
    if damage != "missing":
        file.write_bytes({"truncated": content[:5000], "empty": b"", "wrong": b"<html>" * 1000}[damage])
    start = re.escape(f"data: cannot read {file} (")
    with pytest.raises(ValueError, match=rf"^{start}.+\); delete it to have it downloaded again$"):
        MNIST(root=tmp_path).setup()

"""The data sets, the real ones where AEVB_DATA_DIR says where they are."""

import hashlib
import os
import re
import shutil
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from sklearn.datasets import load_digits

from aevb.data import MNIST, Digits, FreyFace
from aevb.data.freyface import PIXELS_SHA256, frames
from aevb.errors import ConfigError

FOLDER = os.environ.get("AEVB_DATA_DIR")
real_data = pytest.mark.skipif(not FOLDER, reason="set AEVB_DATA_DIR to the folder with MNIST and FreyFace")


def overlap(a: torch.Tensor, b: torch.Tensor) -> int:
    """How many datapoints of `a` are in `b`, pixel by pixel."""
    there = {row.tobytes() for row in b.numpy()}
    return sum(row.tobytes() in there for row in a.numpy())


def test_digits():
    dm = Digits(shape=[1, 8, 8])
    dm.prepare_data()
    splits = dm.splits
    assert [len(split.x) for split in splits] == [1397, 200, 200]
    images = torch.cat([split.x for split in splits])
    assert images.dtype == torch.uint8
    assert images.shape == (1797, 1, 8, 8)
    source = load_digits()
    # The same images with the same labels, in another order; 16 levels of 255/16 each.
    levels = {0, 16, 32, 48, 64, 80, 96, 112, 128, 143, 159, 175, 191, 207, 223, 239, 255}
    assert set(images.unique().tolist()) == levels
    expected = sorted(zip(map(bytes, source.images.astype(np.uint8)), source.target.tolist(), strict=True))
    back = (images.double() * 16 / 255).round().to(torch.uint8).numpy()
    labels = torch.cat([split.y for split in splits]).tolist()
    assert sorted(zip(map(bytes, back), labels, strict=True)) == expected
    assert not torch.equal(splits.test.x, Digits(split_seed=1).splits.test.x)


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
def test_freyface():
    dm = FreyFace(root=FOLDER, shape=[1, 28, 20])
    dm.prepare_data()
    splits = dm.splits
    assert [tuple(split.x.shape) for split in splits] == [(1565, 1, 28, 20), (200, 1, 28, 20), (200, 1, 28, 20)]
    assert dm.splits.train.y is None
    video = scipy.io.loadmat(Path(FOLDER, "FreyFace/frey_rawface.mat"))["ff"].T
    assert hashlib.sha256(np.ascontiguousarray(video)).hexdigest() == PIXELS_SHA256
    frames = torch.cat([split.x for split in splits]).flatten(1).numpy()
    assert sorted(map(bytes, frames)) == sorted(map(bytes, video))
    # The video has frames that are equal; but for those, the splits share nothing.
    repeated = len(video) - len({row.tobytes() for row in video})
    assert overlap(splits.train.x, splits.test.x) <= repeated
    # A pixel is like the one below it; with any other width of the rows, less so.
    pixels = splits.test.x.flatten(1).float()
    below = {width: (pixels[:, width:] - pixels[:, :-width]).abs().mean().item() for width in range(10, 40)}
    assert min(below, key=below.get) == 20


@real_data
def test_data_that_are_there_are_read_from_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a lock or a file was made")

    monkeypatch.setattr("aevb.data.download.lock", refuse)
    monkeypatch.setattr("aevb.data.download.atomic_write", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    for dm in (MNIST(root=FOLDER), FreyFace(root=FOLDER, urls=["http://127.0.0.1:1/"])):
        dm.prepare_data()
        dm.setup()


@real_data
@pytest.mark.parametrize("damage", ["truncated", "empty", "wrong", "missing"])
def test_damaged_mnist_gets_one_line(tmp_path, damage):
    shutil.copytree(Path(FOLDER, "MNIST"), tmp_path / "MNIST", copy_function=os.symlink)
    file = tmp_path / "MNIST/raw/t10k-images-idx3-ubyte"
    content = file.read_bytes()
    file.unlink()
    if damage != "missing":
        file.write_bytes({"truncated": content[:5000], "empty": b"", "wrong": b"<html>" * 1000}[damage])
    start = re.escape(f"data: cannot read MNIST from {tmp_path}/MNIST/raw (")
    with pytest.raises(ValueError, match=rf"^{start}.+\); delete the files there to have them downloaded again$"):
        MNIST(root=tmp_path).setup()


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", None])
def test_a_wrong_frey_face_file_gets_one_line(tmp_path, content):
    path = tmp_path / "FreyFace/frey_rawface.mat"
    path.parent.mkdir()
    if content is None:
        scipy.io.savemat(path, {"ff": np.zeros((560, 1965), np.uint8)})
    else:
        path.write_bytes(content)
    reason = "not the published Frey Face pixels, their SHA-256 differs"
    message = f"data: cannot read {path} ({reason}); delete it to have it downloaded again"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        FreyFace(root=tmp_path).setup()


@real_data
@pytest.mark.parametrize("options", [{}, {"do_compression": True}, {"format": "4"}])
def test_frey_face_is_read_from_every_kind_of_matlab_file(tmp_path, options):
    pixels = scipy.io.loadmat(Path(FOLDER, "FreyFace/frey_rawface.mat"))["ff"]
    scipy.io.savemat(tmp_path / "a.mat", {"ff": pixels}, **options)
    assert np.array_equal(frames((tmp_path / "a.mat").read_bytes()), pixels.T.reshape(1965, 1, 28, 20))


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.parametrize("data", [FreyFace, MNIST])
def test_what_is_no_file_is_not_waited_for(tmp_path, make, data):
    for file in ("FreyFace/frey_rawface.mat", "MNIST/raw/train-images-idx3-ubyte"):
        (tmp_path / file).parent.mkdir(parents=True)
        make(tmp_path / file)
    with pytest.raises(ConfigError, match=r"^data: cannot read .*(no regular file|Is a directory)"):
        data(root=tmp_path).setup()


def test_matlab_bomb_is_not_inflated(tmp_path):
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    packed = zlib.compress(bytes(100_000_000))
    (tmp_path / "FreyFace").mkdir()
    path = tmp_path / "FreyFace/frey_rawface.mat"
    path.write_bytes(header + struct.pack("<II", 15, len(packed)) + packed)
    tracemalloc.start()
    with pytest.raises(ConfigError, match="SHA-256 differs"):
        FreyFace(root=tmp_path).setup()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40_000_000
    with path.open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(ConfigError, match="1,000,000,000,000 bytes, more than 16,000,000"):
        FreyFace(root=tmp_path).setup()


@real_data
def test_one_changed_pixel_is_noticed(tmp_path):
    pixels = scipy.io.loadmat(Path(FOLDER, "FreyFace/frey_rawface.mat"))["ff"]
    pixels[7, 1234] ^= 1
    (tmp_path / "FreyFace").mkdir()
    scipy.io.savemat(tmp_path / "FreyFace/frey_rawface.mat", {"ff": pixels})
    with pytest.raises(ValueError, match="SHA-256 differs"):
        FreyFace(root=tmp_path).setup()


def test_frey_face_that_was_not_downloaded_gets_one_line(tmp_path):
    with pytest.raises(ValueError, match="No such file"):
        FreyFace(root=tmp_path).setup()

"""Frey Face, from the folder AEVB_DATA_DIR where it is set, and files that are not it."""

import hashlib
import os
import re
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from aevb.data import FreyFace, FreyFaceVideo
from aevb.data.freyface import PIXELS_SHA256, frames, windows
from aevb.errors import ConfigError

FOLDER = os.environ.get("AEVB_DATA_DIR")
real_data = pytest.mark.skipif(not FOLDER, reason="set AEVB_DATA_DIR to the folder with MNIST and FreyFace")


def overlap(a: torch.Tensor, b: torch.Tensor) -> int:
    """How many datapoints of `a` are in `b`, pixel by pixel."""
    there = {row.tobytes() for row in b.numpy()}
    return sum(row.tobytes() in there for row in a.numpy())


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
def test_video_is_cut_into_windows_of_consecutive_frames_of_one_split():
    dm = FreyFaceVideo(root=FOLDER, length=20, stride=3, shape=[20, 1, 28, 20])
    video = torch.from_numpy(frames(Path(FOLDER, "FreyFace/frey_rawface.mat").read_bytes()))
    train, val, test = (split.x for split in dm.splits)
    assert (len(train), len(val), len(test)) == (516, 10, 10)  # the last of the first starts at 3 · 515 = 1545
    for number, window in enumerate(train):
        assert torch.equal(window, video[3 * number : 3 * number + 20])
    assert torch.equal(val.flatten(0, 1), video[1565:1765])
    assert torch.equal(test.flatten(0, 1), video[1765:])


def test_rest_that_fills_no_window_is_dropped():
    x = torch.arange(7)
    assert windows(x, 3, 3).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert windows(x, 3, 2).tolist() == [[0, 1, 2], [2, 3, 4], [4, 5, 6]]


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

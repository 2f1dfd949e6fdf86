"""Arrays on the disk: read as they are due, in the order of data in memory, and never as a whole."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from aevb.data import BatchLoader, MemoryMapped
from aevb.errors import ConfigError

RNG = np.random.default_rng(0)


@pytest.fixture
def file(tmp_path):
    np.save(tmp_path / "x.npy", RNG.integers(0, 256, (100, 3, 4), np.uint8))
    return tmp_path / "x.npy"


def anonymous_bytes() -> int:
    """Memory of this process that is no page of a file."""
    (found,) = re.findall(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found) << 10


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells the kinds of memory")
def test_the_file_is_not_read_as_a_whole(tmp_path):
    size = 400 << 20
    array = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float32, shape=(size // 4096, 1024))
    array[::1000] = 0.5
    array.flush()
    del array
    before = anonymous_bytes()
    dm = MemoryMapped(tmp_path / "x.npy", batch_size=50, block_size=10)
    dm.setup()
    loader = iter(dm.train_dataloader())
    for _ in range(20):
        (x,) = next(loader)
        assert x.shape == (10, 50, 1, 1, 1024)
    assert anonymous_bytes() - before < size / 10
    assert dm.splits.train.x.untyped_storage().data_ptr() == dm.splits.test.x.untyped_storage().data_ptr()
    assert dm.value_range == (0.0, 0.5)


def test_rows_are_split_in_their_order(file):
    dm = MemoryMapped(file, batch_size=10, val_fraction=0.2)
    assert dm.shape == (1, 3, 4)
    assert [len(split.x) for split in dm.splits] == [70, 20, 10]
    assert np.array_equal(torch.cat([split.x for split in dm.splits])[:, 0], np.load(file))


def test_blocks_are_those_of_data_in_memory(file):
    dm = MemoryMapped(file, batch_size=10, block_size=3, seed=5)
    in_memory = BatchLoader(dm.splits.train.x.clone(), batch_size=10, shuffle=True, seed=5, block_size=3)
    for one, other in zip(dm.train_dataloader(), in_memory, strict=True):
        assert torch.equal(one[0], other[0])


@pytest.mark.parametrize("dtype", ["bool", "int16", "int64", "float16", "float64"])
def test_types(tmp_path, dtype):
    x = RNG.integers(0, 2, (50, 6)).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    dm = MemoryMapped(tmp_path / "x.npy", batch_size=5)
    (batch,) = next(iter(dm.val_dataloader()))
    assert batch.dtype == torch.float32
    assert np.array_equal(batch[:, 0, 0], x[40:45].astype(np.float32))


def test_the_fingerprint_knows_other_data(file):
    def fingerprint():
        dm = MemoryMapped(file, batch_size=5)
        dm.setup()
        return dm.fingerprint

    before = fingerprint()
    assert fingerprint() == before
    x = np.load(file)
    x[3, 0, 0] ^= 1
    np.save(file, x)
    assert fingerprint()["train"] != before["train"]
    assert fingerprint()["test"] == before["test"]


@pytest.mark.slow
def test_a_run_is_resumed_exactly(run_train, file, tmp_path):
    settings = ["data=memory_map", f"data.path={file}", "data.batch_size=8", "logger=none", "callbacks.images=null"]
    settings += ["model.encoder.hidden=[8]", "callbacks.checkpoint.every_samples=100"]
    whole, _ = run_train(*settings, "max_samples=800", folder=tmp_path / "whole")
    part, _ = run_train(*settings, "max_samples=400", folder=tmp_path / "part")
    run_train(f"resume={part.path}", "max_samples=800", folder=part.path)
    assert whole.status()["samples"] == part.status()["samples"] == 800
    for name, value in whole.load_checkpoint("last")[1]["state_dict"].items():
        assert torch.equal(value, part.load_checkpoint("last")[1]["state_dict"][name])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((10, 4), np.uint16), "must be in C order and a type of torch; .*"),
        (np.asfortranarray(np.zeros((10, 4))), "must be in C order and a type of torch; .*"),
        (np.zeros((10, 4), ">f4"), "must be in C order and a type of torch; .*"),
        (np.zeros(10), r"must be a .npy file of numbers \(N, C, H, W\), .*"),
        (np.array(["a", "b"] * 20).reshape(10, 4), r"must be a .npy file of numbers .*"),
        (np.array([[1, "a"]] * 10, object), "cannot be mapped: .*"),
        (np.zeros((2, 4)), "has too few datapoints to split, 2"),
        (np.full((10, 4), np.nan), "has values that are NaN or infinite"),
        (np.ones((10, 4), np.uint8), "has only 0 and 1 of 255; save black and white as bool"),
        (np.full((10, 4), 1 << 25), "has integers beyond 16,777,216, which float32 would round"),
        (np.ones((10, 8, 8, 3)), r"must hold images \(C, H, W\), got \[8, 8, 3\]; save numpy.moveaxis.*, or set .*"),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, np.ndarray) else "",
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, array, message):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(ConfigError, match=rf"^data\.path: {tmp_path}/x\.npy {message}$"):
        MemoryMapped(tmp_path / "x.npy", batch_size=2).setup()


def test_images_whose_last_axis_is_like_channels_are_taken_on_request(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((10, 8, 8, 3)))
    assert MemoryMapped(tmp_path / "x.npy", batch_size=2, shape=[8, 8, 3]).shape == (8, 8, 3)


def test_damaged_files_and_settings(file):
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(ConfigError, match=r"cannot be mapped: .*"):
        MemoryMapped(file).setup()
    with pytest.raises(ConfigError, match=r"cannot be mapped: No such file or directory"):
        MemoryMapped(file.with_name("none.npy")).setup()
    with pytest.raises(ValueError, match=r"data\.binarization must be none for data on the disk, got static"):
        MemoryMapped(file, binarization="static")

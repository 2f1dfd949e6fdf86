import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from aevb.data import Array
from aevb.errors import ConfigError
from aevb.likelihoods import Poisson

rng = np.random.default_rng(0)


def images(*shape: int) -> np.ndarray:
    return rng.integers(0, 256, shape, dtype=np.uint8)


def load(path, **kwargs) -> Array:
    dm = Array(path, **({"batch_size": 1} | kwargs))
    dm.setup()
    return dm


def everything(dm: Array) -> torch.Tensor:
    """The datapoints of all splits, as values in a batch, in a common order."""
    x = torch.cat([split.x for split in dm.splits])
    return torch.stack(sorted(x, key=lambda image: image.flatten().tolist()))


def in_order(x: np.ndarray) -> torch.Tensor:
    return torch.stack(sorted(torch.from_numpy(x), key=lambda image: image.flatten().tolist()))


@pytest.mark.parametrize(
    ("stored", "shape", "expected"),
    [
        ((30, 8, 6), None, (1, 8, 6)),
        ((30, 1, 8, 6), None, (1, 8, 6)),
        ((30, 3, 8, 6), None, (3, 8, 6)),
        ((30, 8, 6, 3), None, (3, 8, 6)),
        ((30, 8, 6, 4), None, (4, 8, 6)),
        ((30, 8, 6, 1), None, (1, 8, 6)),
        ((30, 2, 8, 6), None, (2, 8, 6)),
        ((30, 16, 12, 5), None, (5, 16, 12)),
        ((30, 5, 12, 16), None, (5, 12, 16)),
        ((30, 8, 8, 2), None, (2, 8, 8)),
        ((30, 16, 16, 5), None, (5, 16, 16)),
        ((30, 32, 4, 4), None, (32, 4, 4)),
        ((30, 4, 4, 32), None, (32, 4, 4)),
        ((30, 1, 1, 48), None, (1, 1, 48)),
        ((30, 3, 8, 4), [4, 3, 8], (4, 3, 8)),
        ((30, 8, 6, 2), [2, 8, 6], (2, 8, 6)),
        ((30, 5, 8, 6), [5, 8, 6], (5, 8, 6)),
        ((30, 5, 8, 6), [6, 5, 8], (6, 5, 8)),
        ((30, 48), None, (1, 1, 48)),
        ((30, 48), [1, 8, 6], (1, 8, 6)),
        ((30, 48), [3, 4, 4], (3, 4, 4)),
    ],
)
def test_shapes(tmp_path, stored, shape, expected):
    x = images(*stored)
    np.save(tmp_path / "x.npy", x)
    dm = load(tmp_path / "x.npy", shape=shape)
    assert dm.shape == expected
    last = len(stored) == 4 and stored[1:] != expected
    assert torch.equal(everything(dm), in_order((x.transpose(0, 3, 1, 2) if last else x).reshape(30, *expected)))
    (batch,) = next(iter(dm.train_dataloader()))
    assert batch.shape[2:] == expected


@pytest.mark.parametrize("stored", [(5, 8, 6), (3, 8, 3), (3, 8, 4), (4, 4, 4), (1, 8, 1), (7, 9, 6)])
def test_ambiguous_channels_must_be_specified(tmp_path, stored):
    np.save(tmp_path / "x.npy", x := images(30, *stored))
    first, middle, last = stored
    message = (
        f"data.channels_last must be true or false: {tmp_path}/x.npy has x of shape (N, {first}, {middle}, {last})"
    )
    with pytest.raises(ConfigError, match=rf"^{re.escape(message)}.* \(or set data\.shape\)$"):
        load(tmp_path / "x.npy")
    with pytest.raises(ConfigError, match=r"^data\.channels_last must be"):
        load(tmp_path / "x.npy", shape=[1, 1, 1])
    is_first = load(tmp_path / "x.npy", channels_last=False)
    assert torch.equal(everything(is_first), in_order(x))
    is_last = load(tmp_path / "x.npy", channels_last=True)
    assert torch.equal(everything(is_last), in_order(x.transpose(0, 3, 1, 2).copy()))
    again = load(tmp_path / "x.npy", channels_last=True, shape=is_last.shape)  # as a run stores it
    assert torch.equal(everything(again), everything(is_last))


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f4", "f8"])
def test_floats_are_taken_as_they_are(tmp_path, dtype):
    x = rng.normal(size=(20, 4, 4)).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    dm = load(tmp_path / "x.npy")
    assert torch.equal(everything(dm), in_order(x.astype(np.float32)[:, None]))


def test_bool_is_black_and_white(tmp_path):
    np.save(tmp_path / "x.npy", np.eye(12, dtype=bool).reshape(12, 3, 4))
    (x,) = next(iter(load(tmp_path / "x.npy").train_dataloader()))
    assert set(x.unique().tolist()) == {0.0, 1.0}


def test_fortran_order_and_one_array_of_any_name(tmp_path):
    x = images(10, 4, 5)
    np.savez(tmp_path / "x.npz", frames=np.asfortranarray(x))
    assert torch.equal(everything(load(tmp_path / "x.npz")), in_order(x[:, None]))


def test_labels_and_fractions(tmp_path):
    x = np.arange(100, dtype=np.uint8).reshape(100, 1, 1)
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(100, dtype=np.int32))
    dm = load(tmp_path / "x.npz", val_fraction=0.2, test_fraction=0.15)
    assert [len(split.x) for split in dm.splits] == [65, 20, 15]
    assert all(torch.equal(split.x.flatten().long(), split.y) for split in dm.splits)
    assert torch.cat([split.y for split in dm.splits]).unique().numel() == 100
    assert dm.splits.train.y is not None


def test_splits_of_the_file(tmp_path):
    parts = {name: images(n, 4, 4) for name, n in (("x_train", 30), ("x_val", 4), ("x_test", 6))}
    labels = {"y" + name[1:]: np.arange(len(x)) for name, x in parts.items()}
    np.savez(tmp_path / "whole.npz", **parts, **labels)
    splits = load(tmp_path / "whole.npz").splits
    assert torch.equal(splits.val.x, torch.from_numpy(parts["x_val"])[:, None])
    assert torch.equal(splits.test.x, torch.from_numpy(parts["x_test"])[:, None])
    assert len(splits.train.x) == 30
    assert torch.equal(splits.train.x, torch.from_numpy(parts["x_train"])[splits.train.y][:, None])
    # As Keras has MNIST: no validation set, which is then taken from the training set.
    del parts["x_val"]
    np.savez(tmp_path / "two.npz", **parts)
    splits = load(tmp_path / "two.npz").splits
    assert [len(split.x) for split in splits] == [27, 3, 6]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros(5, np.uint8), "must hold images (N, H, W), (N, C, H, W), (N, H, W, C) or vectors (N, D); x is uint8"
                                " of shape (5,)"),
        (np.zeros((5, 2, 2, 2, 2), np.uint8), "must hold images"),
        (np.zeros((0, 4, 4), np.uint8), "must hold images"),
        (np.zeros((5, 4, 0), np.uint8), "must hold images"),
        (np.array([[1, None]]), "cannot be read: it holds Python objects, not numbers"),
        (np.full((9, 4, 4), 2**24 + 1), "has integers beyond 16,777,216 in x, which float32 would round"),
        (np.full((9, 4, 4), -(2**40)), "has integers beyond 16,777,216 in x, which float32 would round"),
        (np.zeros((9, 4, 4), complex), "must hold uint8, bool, integers or floats; x is complex128"),
        (np.array([["a", "b"]]), "must hold uint8, bool, integers or floats; x is <U1"),
        (np.full((9, 4, 4), np.nan), "has values in x that are NaN, infinite or too large"),
        (np.full((9, 4, 4), np.inf), "has values in x that are NaN, infinite or too large"),
        (np.full((9, 4, 4), 1e300), "has values in x that are NaN, infinite or too large"),
        (np.ones((9, 4, 4), np.uint8), "has only 0 and 1 of 255 in x; save black and white as bool"),
        (np.zeros((2, 4, 4)), "has too few datapoints to split, 2"),
    ],
)  # fmt: skip
def test_arrays_that_are_no_images(tmp_path, x, message):
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(ValueError, match="^" + re.escape(f"data.path: {tmp_path}/x.npy {message}") + ".*$"):
        load(tmp_path / "x.npy")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": images(9, 4, 4), "b": images(9, 4, 4)}, "has the arrays a, b; name them x, y, lengths, c or x_train"),
        ({}, "has the arrays none; name them x, y, lengths, c or x_train"),
        ({"x": images(9, 4, 4), "y": np.arange(8)}, "needs one integer for each of the 9 in x; y is int64"),
        ({"x": images(9, 4, 4), "y": np.zeros(9)}, "needs one integer for each of the 9 in x; y is float64"),
        ({"x": images(9, 4, 4), "x_test": images(9, 4, 5)}, "has splits of different shapes"),
        ({"x": images(9, 4, 4), "x_test": np.zeros((9, 4, 4))}, "has splits of different types"),
        ({"x": images(9, 4, 4), "x_test": images(9, 4, 4), "y": np.arange(9)}, "has labels for some splits only"),
    ],
)
def test_archives_that_do_not_fit(tmp_path, arrays, message):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(ValueError, match="^" + re.escape(f"data.path: {tmp_path}/x.npz {message}") + ".*$"):
        load(tmp_path / "x.npz")


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_files_that_cannot_be_read(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    with pytest.raises(ValueError, match=r"data\.path: .* does not exist"):
        load(path)
    np.savez(tmp_path / "whole.npz", x=images(90, 4, 4))
    np.save(tmp_path / "whole.npy", images(90, 4, 4))
    whole = (tmp_path / f"whole.{suffix}").read_bytes()
    for content in (b"", b"<html>", whole[:100], whole[:-200], whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"data\.path: .* cannot be read: .+") as error:
            load(path)
        assert "\n" not in str(error.value)
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match=r"data\.path: .* cannot be read"):
        load(path)


def link_to_a_device(path):
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [os.mkfifo, link_to_a_device, Path.mkdir], ids=["fifo", "device", "folder"])
def test_pipe_does_not_block(tmp_path, make):
    make(tmp_path / "x.npy")
    message = f"data.path: {tmp_path}/x.npy cannot be read: "
    with pytest.raises(ConfigError, match=rf"^{re.escape(message)}(it is not a regular file|Is a directory)$"):
        load(tmp_path / "x.npy")


@pytest.mark.parametrize("dtype", ["i1", "i2", "u2", "i4", "i8", ">i8", "u8"])
def test_integers_are_counts(tmp_path, dtype):
    x = rng.integers(0, 100, (30, 4, 4)).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    dm = load(tmp_path / "x.npy")
    assert torch.equal(everything(dm), in_order(x.astype(np.float32)[:, None]))
    Poisson((3,), (1, 4, 4)).check(dm.splits.train.x)


def test_uint8_for_a_count_head_is_explained(run_train, tmp_path):
    np.save(tmp_path / "x.npy", images(200, 4, 4))
    run = ["data=array", f"data.path={tmp_path}/x.npy", "model=poisson", "logger=none", "max_samples=100"]
    with pytest.raises(
        ConfigError, match=r"^likelihood Poisson needs .*; uint8 is scaled to x / 255: save counts as int64$"
    ):
        run_train(*run)
    np.save(tmp_path / "x.npy", images(200, 4, 4).astype(np.int64))
    assert run_train(*run, folder=tmp_path / "counts")[0].status()["state"] == "finished"


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"data\.path: .*x\.pt must be a \.npy or \.npz file"):
        load(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"val_fraction": 0}, "val_fraction must be a number between 0 and 1, got 0"),
        ({"test_fraction": 1.5}, "test_fraction must be a number between 0 and 1, got 1.5"),
        (
            {"val_fraction": 0.6, "test_fraction": 0.5},
            "data.val_fraction must be below 1 - data.test_fraction, got 0.6",
        ),
        ({"shape": [1, 5, 4]}, "data.shape must be that of the data, [1, 4, 4], got [1, 5, 4]"),
    ],
)
def test_invalid_arguments_are_refused(tmp_path, kwargs, message):
    np.save(tmp_path / "x.npy", images(30, 4, 4))
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        load(tmp_path / "x.npy", **kwargs)


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy], ids=["array", "tensor"])
def test_array_in_memory_is_read_as_one_in_a_file(convert, tmp_path):
    x, y = images(30, 8, 6, 3), np.arange(30)
    np.savez(tmp_path / "x.npz", x=x, y=y)
    stored, given = load(tmp_path / "x.npz"), load(convert(x), y=convert(y))
    assert given.fingerprint == stored.fingerprint
    assert given.shape == (3, 8, 6)


def test_tensors_of_any_precision_are_read():
    x = torch.rand(30, 5, requires_grad=True)
    for kind in (torch.bfloat16, torch.float16, torch.float64):
        assert torch.equal(everything(load(x.to(kind))), in_order(x.detach().to(kind).float().numpy()[:, None, None]))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.full((30, 4), np.nan), "data: the array has values in x that are NaN, infinite or too large"),
        (np.zeros(30), "data: the array must hold images (N, H, W), (N, C, H, W), (N, H, W, C) or vectors (N, D)"),
        (np.zeros((2, 4)), "data: the array has too few datapoints to split, 2"),
    ],
)
def test_wrong_array_in_memory_is_one_line(x, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        load(x)


def test_labels_of_a_file_are_in_the_file(tmp_path):
    with pytest.raises(ValueError, match=r"^y, lengths and c are for an x that is given as an array"):
        Array(tmp_path / "x.npy", y=np.zeros(3))


def sequences(tmp_path, **arrays) -> Path:
    np.savez(tmp_path / "x.npz", **arrays)
    return tmp_path / "x.npz"


@pytest.mark.parametrize(
    ("stored", "expected"), [((30, 7, 4), (7, 4)), ((30, 7, 5, 6), (7, 1, 5, 6)), ((30, 7, 3, 5, 6), (7, 3, 5, 6))]
)
def test_sequences_are_told_by_the_setting_or_by_lengths(tmp_path, stored, expected):
    x, lengths = images(*stored), rng.integers(1, 8, 30)
    np.save(tmp_path / "x.npy", x)
    plain, with_lengths = load(tmp_path / "x.npy", sequences=True), load(sequences(tmp_path, x=x, lengths=lengths))
    in_memory = load(x, lengths=torch.from_numpy(lengths))
    assert plain.shape == with_lengths.shape == in_memory.shape == expected
    assert plain.splits.train.c is None
    known = {sequence[:1].tobytes(): length for sequence, length in zip(x, lengths, strict=True)}
    for dm in (with_lengths, in_memory):
        for split in dm.splits:
            assert split.c.dtype == torch.float32
            assert [known[sequence[:1].numpy().tobytes()] for sequence in split.x] == split.c.tolist()


@pytest.mark.parametrize("padding", [-1.0, np.nan])
def test_padding_is_not_in_the_range_of_the_data(tmp_path, padding):
    x, lengths = rng.uniform(size=(30, 7, 4)), rng.integers(1, 8, 30)
    x[np.arange(7) >= lengths[:, None]] = padding
    dm = load(sequences(tmp_path, x=x, lengths=lengths))
    assert 0 <= dm.value_range[0] < dm.value_range[1] <= 1
    assert dm.splits.train.x[dm.splits.train.c < 7][:, -1].count_nonzero() == 0


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"lengths": [3] * 9}, "needs one integer for each of the 10 in x; lengths is int64 of shape (9,)"),
        ({"lengths": [0.5] * 10}, "needs one integer for each of the 10 in x; lengths is float64 of shape (10,)"),
        ({"lengths": [1] * 9 + [0]}, "has sequences of 7 steps in x; lengths must be from 1 to 7, got 0 to 1"),
        ({"lengths": [1] * 9 + [8]}, "has sequences of 7 steps in x; lengths must be from 1 to 7, got 1 to 8"),
    ],
)
def test_lengths_that_do_not_fit_get_one_line(tmp_path, arrays, message):
    path = sequences(tmp_path, x=images(10, 7, 4), **{name: np.array(values) for name, values in arrays.items()})
    with pytest.raises(ConfigError, match="^" + re.escape(f"data.path: {path} {message}") + "$"):
        load(path)


def test_sequences_of_unequal_length_without_lengths_get_one_line(tmp_path):
    ragged = np.empty(3, dtype=object)
    ragged[:] = [images(n, 4) for n in (2, 3, 5)]
    np.save(tmp_path / "x.npy", ragged, allow_pickle=True)
    message = "it holds Python objects, not numbers; pad sequences to one length, and save their lengths"
    with pytest.raises(ConfigError, match=re.escape(message) + "$"):
        load(tmp_path / "x.npy", sequences=True)
    with pytest.raises(ConfigError, match=r"must hold images .*; sequences of images need data\.sequences=true$"):
        load(images(10, 7, 1, 5, 6))
    with pytest.raises(ConfigError, match=r"must hold sequences \(N, T, D\)"):
        load(images(10, 7), sequences=True)

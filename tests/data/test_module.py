import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aevb.data import BatchLoader, InMemoryDataModule, Split, Splits
from aevb.data.module import split_at_random

properties = settings(deadline=None, derandomize=True, max_examples=50)
GREY = torch.arange(120 * 8 * 6).remainder(256).to(torch.uint8).view(120, 1, 8, 6)


class Grey(InMemoryDataModule):
    """120 different images, labelled by their number: 100 to train on and 10 each to evaluate."""

    def load(self) -> Splits:
        return Splits(*(Split(GREY[a:b], torch.arange(a, b)) for a, b in ((0, 100), (100, 110), (110, 120))))


class Floats(InMemoryDataModule):
    """Values from -1 to 1, without labels."""

    def load(self) -> Splits:
        return Splits(*(Split(torch.linspace(-1, 1, 24).view(6, 1, 2, 2)) for _ in range(3)))


def grey(**kwargs) -> Grey:
    return Grey(**({"batch_size": 10} | kwargs))


@properties
@given(n=st.integers(3, 200), data=st.data(), seed=st.integers(0, 2**40))
def test_random_splits_are_disjoint_and_complete(n, data, seed):
    val = data.draw(st.integers(1, n - 2))
    test = data.draw(st.integers(1, n - 1 - val))
    whole = Split(torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1), torch.arange(n))
    splits = split_at_random(whole, val, test, seed)
    assert [len(split.x) for split in splits] == [n - val - test, val, test]
    assert sorted(torch.cat([split.y for split in splits]).tolist()) == list(range(n))
    assert all(torch.equal(split.x.flatten(), split.y.to(torch.uint8)) for split in splits)
    again = split_at_random(whole, val, test, seed)
    assert all(torch.equal(a.x, b.x) for a, b in zip(splits, again, strict=True))


def test_splits_depend_on_the_seed():
    whole = Split(torch.arange(50).view(50, 1, 1, 1))
    assert not torch.equal(split_at_random(whole, 5, 5, 0).test.x, split_at_random(whole, 5, 5, 1).test.x)


@properties
@given(small=st.integers(10, 100), large=st.integers(10, 100), seed=st.integers(0, 1000))
def test_a_smaller_training_set_is_part_of_a_larger_one(small, large, seed):
    small, large = sorted((small, large))
    a, b = (set(grey(train_size=size, split_seed=seed).splits.train.y.tolist()) for size in (small, large))
    assert len(a) == small
    assert len(b) == large
    assert a <= b


def test_train_size_does_not_change_the_other_splits():
    dm = grey(train_size=20)
    assert dm.train_size == 20
    assert dm.splits.val.y.tolist() == list(range(100, 110))
    assert dm.splits.test.y.tolist() == list(range(110, 120))
    assert torch.equal(grey(train_size=100).splits.train.x, grey().splits.train.x)


def test_loaders():
    dm = grey(block_size=4, eval_batch_size=7)
    train = list(dm.train_dataloader())
    assert [tuple(x.shape) for x, _ in train] == [(4, 10, 1, 8, 6), (4, 10, 1, 8, 6), (2, 10, 1, 8, 6)]
    assert sorted(torch.cat([y.flatten() for _, y in train]).tolist()) == list(range(100))
    for loader, first in ((dm.val_dataloader(), 100), (dm.test_dataloader(), 110)):
        assert isinstance(loader, BatchLoader)
        batches = list(loader)
        assert [len(x) for x, _ in batches] == [7, 3]
        assert torch.cat([y for _, y in batches]).tolist() == list(range(first, first + 10))
        assert torch.equal(torch.cat([x for x, _ in batches]), GREY[first : first + 10] / 255)
    assert len(next(iter(Floats(batch_size=2).train_dataloader()))) == 1
    assert Floats(batch_size=2).splits.train.y is None
    assert dm.splits.train.y is not None


def test_the_order_depends_on_the_seed_and_the_splits_do_not():
    orders = [next(iter(grey(seed=seed).train_dataloader()))[1] for seed in (0, 0, 1)]
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])
    a, b = (grey(seed=seed, binarization="static", train_size=50).splits for seed in (0, 1))
    assert all(torch.equal(p.x, q.x) for p, q in zip(a, b, strict=True))


def test_shape_is_that_of_the_data():
    assert grey().shape == (1, 8, 6)
    assert grey(shape=[1, 8, 6]).shape == (1, 8, 6)


def epochs(loader: BatchLoader) -> list[torch.Tensor]:
    """Two epochs of the training set, in the order of the labels."""
    result = []
    for _ in range(2):
        x, y = (torch.cat(parts).flatten(0, 1) for parts in zip(*loader, strict=True))
        result.append(x[y.argsort()])
    return result


def test_no_binarization():
    a, b = epochs(grey().train_dataloader())
    assert torch.equal(a, GREY[:100] / 255)
    assert torch.equal(a, b)


def test_threshold():
    dm = grey(binarization="threshold")
    a, b = epochs(dm.train_dataloader())
    assert torch.equal(a, (GREY[:100] / 255 > 0.5).float())
    assert torch.equal(a, b)
    assert torch.equal(next(iter(dm.test_dataloader()))[0], (GREY[110:] / 255 > 0.5).float())


def test_static_binarization_is_drawn_once():
    a, b = epochs(grey(binarization="static").train_dataloader())
    assert set(a.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(a, b)
    assert (a - GREY[:100] / 255).mean().abs() < 0.02
    # A training set of another size has the same draws.
    part = grey(binarization="static", train_size=30).splits.train
    assert torch.equal(part.x.float(), a[part.y])
    other = epochs(grey(binarization="static", split_seed=1).train_dataloader())[0]
    assert not torch.equal(a, other)


def test_dynamic_binarization_redraws_only_the_training_set():
    dm = grey(binarization="dynamic")
    a, b = epochs(dm.train_dataloader())
    assert set(a.unique().tolist()) == set(b.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(a, b)
    static = grey(binarization="static")
    for name in ("val_dataloader", "test_dataloader"):
        loader = getattr(dm, name)()
        ((first, _),), ((second, _),) = list(loader), list(loader)
        assert set(first.unique().tolist()) == {0.0, 1.0}
        assert torch.equal(first, second)
        assert torch.equal(first, next(iter(getattr(static, name)()))[0])


def test_examples_are_fixed():
    dm = grey()
    x, y, _ = dm.examples("test", 4)
    assert torch.equal(x, GREY[y] / 255)
    assert all(110 <= i < 120 for i in y.tolist())
    assert len(set(y.tolist())) == 4
    more, *_ = grey(seed=5, batch_size=20).examples("test", 8)
    assert torch.equal(more[:4], x)
    assert len(dm.examples("val", 100)[0]) == 10
    x, y, _ = Floats(batch_size=1).examples("train", 2)
    assert x.shape == (2, 1, 2, 2)
    assert y is None


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"batch_size": -5}, "batch_size must be a whole number of at least 1, got -5"),
        ({"batch_size": 2.5}, "batch_size must be a whole number of at least 1, got 2.5"),
        ({"batch_size": "many"}, "batch_size must be a whole number of at least 1, got 'many'"),
        ({"eval_batch_size": 0}, "eval_batch_size must be a whole number of at least 1, got 0"),
        ({"block_size": 0}, "block_size must be a whole number of at least 1 or auto, got 0"),
        ({"train_size": 0}, "train_size must be a whole number of at least 1 or null, got 0"),
        ({"seed": -1}, "seed must be a whole number from 0 to 4,294,967,295, got -1"),
        ({"split_seed": -1}, "split_seed must be a whole number from 0 to 4,294,967,295, got -1"),
        ({"binarization": "maybe"}, "binarization must be one of none, static, dynamic, threshold, got 'maybe'"),
        ({"shape": [1, 0, 6]}, "shape must be a shape such as [1, 28, 28] or null, got [1, 0, 6]"),
        ({"shape": 48}, "shape must be a shape such as [1, 28, 28] or null, got 48"),
        ({"shape": [1, 6, 8]}, "data.shape must be that of the data, [1, 8, 6], got [1, 6, 8]"),
        ({"batch_size": 101}, "data.batch_size must be at most 100, the size of the training set, got 101"),
        (
            {"batch_size": 50, "train_size": 40},
            "data.batch_size must be at most 40, the size of the training set, got 50",
        ),
        ({"train_size": 101}, "data.train_size must be at most 100, the size of the training set, got 101"),
    ],
)
def test_invalid_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        grey(**kwargs).setup()


@pytest.mark.parametrize("binarization", ["static", "dynamic", "threshold"])
def test_values_outside_0_and_1_are_not_binarized(binarization):
    message = f"data.binarization={binarization} needs values in [0, 1], the data have values in [-1, 1]; rescale them"
    with pytest.raises(ValueError, match=f"^{re.escape(message)} or set data.binarization=none$"):
        Floats(batch_size=1, binarization=binarization).setup()


def test_blocks_have_ten_minibatches_on_a_cpu():
    assert grey(batch_size=2).train_dataloader().block_size == 10

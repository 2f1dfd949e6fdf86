import itertools

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aevb.data import BatchLoader
from aevb.data.loader import automatic_block_size

properties = settings(deadline=None, derandomize=True, max_examples=200)


def numbered(n: int) -> torch.Tensor:
    """n datapoints (1, 1, 2) of uint8 that are all different; `number` reads them back."""
    return torch.stack([torch.arange(n) // 256, torch.arange(n) % 256], -1).to(torch.uint8).view(n, 1, 1, 2)


def number(x: torch.Tensor) -> list[int]:
    high, low = (x.flatten(0, -4) if x.ndim > 4 else x).mul(255).round().long().flatten(1).unbind(1)
    return (256 * high + low).tolist()


def epochs(loader: BatchLoader, count: int) -> list[list[tuple[torch.Tensor, ...]]]:
    return [list(loader) for _ in range(count)]


def same(a, b) -> bool:
    return len(a) == len(b) and all(
        torch.equal(s, t) for p, q in zip(a, b, strict=True) for s, t in zip(p, q, strict=True)
    )


training = {
    "n": st.integers(1, 300),
    "batch_size": st.integers(1, 40),
    "block_size": st.integers(1, 12),
    "world_size": st.integers(1, 4),
    "seed": st.integers(0, 2**32),
}


@properties
@given(**training)
def test_training_epochs_are_shuffled_disjoint_and_of_equal_length_on_all_ranks(
    n, batch_size, block_size, world_size, seed
):
    assume(n >= batch_size * world_size)
    kwargs = {"batch_size": batch_size, "block_size": block_size, "shuffle": True, "seed": seed}
    loaders = [
        BatchLoader(numbered(n), torch.arange(n), rank=rank, world_size=world_size, **kwargs)
        for rank in range(world_size)
    ]
    steps = n // (batch_size * world_size)
    items = [list(loader) for loader in loaders]
    for loader, blocks in zip(loaders, items, strict=True):
        assert len(loader) == len(blocks) == -(-steps // block_size)
        assert [len(x) for x, _ in blocks[:-1]] == [block_size] * (len(blocks) - 1)
        assert sum(len(x) for x, _ in blocks) == steps
        for x, y in blocks:
            assert x.shape == (len(x), batch_size, 1, 1, 2)
            assert x.dtype == torch.float32
            assert y.flatten().tolist() == number(x)
    seen = [i for blocks in items for x, _ in blocks for i in number(x)]
    assert len(seen) == len(set(seen)) == steps * batch_size * world_size


@properties
@given(**training)
def test_the_ranks_minibatches_together_are_those_of_one_process(n, batch_size, block_size, world_size, seed):
    assume(n >= batch_size * world_size)
    kwargs = {"shuffle": True, "seed": seed}
    one = BatchLoader(numbered(n), batch_size=batch_size * world_size, block_size=1, **kwargs)
    many = [
        BatchLoader(
            numbered(n), batch_size=batch_size, block_size=block_size, rank=rank, world_size=world_size, **kwargs
        )
        for rank in range(world_size)
    ]
    expected = [number(x) for (x,) in one]
    ranks = [[number(step[None]) for (x,) in loader for step in x] for loader in many]
    assert [list(itertools.chain(*parts)) for parts in zip(*ranks, strict=True)] == expected


@properties
@given(n=st.integers(1, 300), batch_size=st.integers(1, 40), world_size=st.integers(1, 4), shuffle=st.booleans())
def test_evaluation_has_every_datapoint_once(n, batch_size, world_size, shuffle):
    loaders = [
        BatchLoader(
            numbered(n), torch.arange(n), batch_size=batch_size, shuffle=shuffle, rank=rank, world_size=world_size
        )
        for rank in range(world_size)
    ]
    items = [list(loader) for loader in loaders]
    assert [len(loader) for loader in loaders] == [len(batches) for batches in items]
    assert max(map(len, items)) - min(map(len, items)) <= 1
    seen = [i for batches in items for x, _ in batches for i in number(x)]
    assert sorted(seen) == list(range(n))
    assert shuffle or seen == list(range(n))
    assert all(y.tolist() == number(x) for batches in items for x, y in batches)
    assert all(len(x) == batch_size for batches in items for x, _ in batches[:-1])


@properties
@given(
    **training,
    stop=st.integers(0, 60),
    other_block_size=st.integers(1, 12),
    binarize=st.booleans(),
    evaluation=st.booleans(),
)
def test_resuming_continues_bit_for_bit(
    n, batch_size, block_size, world_size, seed, stop, other_block_size, binarize, evaluation
):
    assume(n >= batch_size * world_size)

    def loader(block_size):
        return BatchLoader(
            numbered(n),
            torch.arange(n),
            batch_size=batch_size,
            shuffle=True,
            seed=seed,
            block_size=None if evaluation else block_size,
            binarize=binarize,
            rank=world_size - 1,
            world_size=world_size,
        )

    def minibatches(items):
        return [tuple(parts) for item in items for parts in ([item] if evaluation else zip(*item, strict=True))]

    def forever(loader):
        while True:
            yield from loader

    whole = loader(block_size)
    assume(len(whole) > 0)
    stream = forever(whole)
    stop = min(stop, 3 * len(whole))
    for _ in range(stop):
        next(stream)
    state = whole.state_dict()
    resumed = loader(other_block_size)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    # To the end of the second epoch from here, whatever the blocks.
    rest = whole._epoch + 2
    expected, got = [], []
    while whole._epoch < rest:
        expected.append(next(stream))
    del expected[-1]
    more = forever(resumed)
    while resumed._epoch < rest:
        got.append(next(more))
    del got[-1]
    assert same(minibatches(expected), minibatches(got))


def test_each_epoch_has_another_order_and_leaves_out_others():
    loader = BatchLoader(numbered(105), batch_size=10, block_size=3, shuffle=True)
    orders = [[i for (x,) in epoch for i in number(x)] for epoch in epochs(loader, 5)]
    assert len({tuple(order) for order in orders}) == 5
    assert len({frozenset(order) for order in orders}) == 5
    again = BatchLoader(numbered(105), batch_size=10, block_size=3, shuffle=True)
    assert [[i for (x,) in epoch for i in number(x)] for epoch in epochs(again, 5)] == orders
    other = BatchLoader(numbered(105), batch_size=10, block_size=3, shuffle=True, seed=1)
    assert [i for (x,) in other for i in number(x)] != orders[0]


def test_the_first_place_of_an_order_is_uniform():
    """Of 1200 epochs, every one of 12 datapoints is first in about 100."""
    loader = BatchLoader(numbered(12), batch_size=1, block_size=12, shuffle=True, seed=7)
    counts = torch.zeros(12)
    for _ in range(1200):
        counts[number(next(iter(loader))[0])[0]] += 1
    assert ((counts - 100) ** 2 / 100).sum() < 31.3  # the 0.999 quantile of chi-squared, 11 degrees of freedom


def test_an_iterator_that_is_not_used_does_not_count():
    loader = BatchLoader(numbered(20), batch_size=5, block_size=2, shuffle=True)
    expected = epochs(BatchLoader(numbered(20), batch_size=5, block_size=2, shuffle=True), 2)
    iter(loader)
    assert same(list(loader), expected[0])
    iter(loader)
    assert same(list(loader), expected[1])


def test_each_new_iterator_is_the_next_epoch_also_after_one_that_was_left_early():
    expected = epochs(BatchLoader(numbered(20), batch_size=5, block_size=2, shuffle=True), 2)
    loader = BatchLoader(numbered(20), batch_size=5, block_size=2, shuffle=True)
    next(iter(loader))
    assert same(list(loader), expected[1])


@pytest.mark.parametrize("block_size", [None, 2])
def test_after_a_state_of_the_end_of_an_epoch_comes_the_next_epoch(block_size):
    kwargs = {"batch_size": 5, "block_size": block_size, "shuffle": True}
    loader = BatchLoader(numbered(23), **kwargs)
    states = [loader.state_dict() for _ in loader]
    following = list(loader)
    resumed = BatchLoader(numbered(23), **kwargs)
    resumed.load_state_dict(states[-1])
    assert same(list(resumed), following)


def test_set_epoch_starts_another_epoch_and_keeps_the_current_one():
    expected = epochs(BatchLoader(numbered(60), batch_size=5, block_size=2, shuffle=True), 4)
    loader = BatchLoader(numbered(60), batch_size=5, block_size=2, shuffle=True)
    next(iter(loader))
    state = loader.state_dict()
    loader.set_epoch(3)
    assert same(list(loader), expected[3])
    loader.load_state_dict(state)
    loader.set_epoch(0)
    assert same(list(loader), expected[0][1:])
    loader.load_state_dict(state)
    loader.set_epoch(1)
    assert same(list(loader), expected[1])


def test_values_in_a_batch():
    levels = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1)
    for block_size in (None, 1):
        (x,) = next(iter(BatchLoader(levels, batch_size=256, block_size=block_size)))
        # Exactly x / 255, not x times a rounded 1 / 255.
        assert x.flatten().tolist() == (torch.arange(256) / 255).tolist()
        (x,) = next(iter(BatchLoader(levels > 99, batch_size=256, block_size=block_size)))
        assert x.flatten().tolist() == [float(v > 99) for v in range(256)]
        (x,) = next(iter(BatchLoader(levels - 3.5, batch_size=256, block_size=block_size)))
        assert x.flatten().tolist() == [v - 3.5 for v in range(256)]


def test_each_epoch_has_new_draws_that_do_not_depend_on_the_block_size():
    grey = torch.full((40, 1, 4, 4), 128, dtype=torch.uint8)
    first, second = epochs(BatchLoader(grey, batch_size=10, block_size=2, binarize=True), 2)
    assert set(torch.cat([x for (x,) in first + second]).flatten().tolist()) == {0.0, 1.0}
    assert not same(first, second)
    (whole,) = epochs(BatchLoader(grey, batch_size=10, block_size=4, binarize=True), 1)
    assert torch.equal(torch.cat([x for (x,) in first]), whole[0][0])


def test_a_state_of_another_order_is_refused():
    loader = BatchLoader(numbered(50), batch_size=5, block_size=2, shuffle=True)
    state = loader.state_dict()
    for change in ({"batch_size": 10}, {"seed": 1}, {"shuffle": False}, {"world_size": 2}, {"binarize": True}):
        other = BatchLoader(numbered(50), **({"batch_size": 5, "block_size": 2, "shuffle": True} | change))
        name = "batch_size was 5 and is 10" if "world_size" in change else next(iter(change))
        with pytest.raises(ValueError, match=name):
            other.load_state_dict(state)
    with pytest.raises(ValueError, match="datapoints was 50 and is 51"):
        BatchLoader(numbered(51), batch_size=5, block_size=2, shuffle=True).load_state_dict(state)


def test_order_continues_with_another_number_of_ranks():
    def loader(world_size, rank=0):
        sizes = {"batch_size": 12 // world_size, "block_size": 1}
        return BatchLoader(numbered(50), **sizes, shuffle=True, rank=rank, world_size=world_size)

    whole = iter(one := loader(1))
    next(whole)
    parts = [loader(3, rank) for rank in range(3)]
    for part in parts:
        part.load_state_dict(one.state_dict())
    together = torch.cat([next(iter(part))[0] for part in parts], dim=1)
    assert torch.equal(together, next(whole)[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"block_size": 0}, "block_size must be a whole number of at least 1 or null, got 0"),
        ({"batch_size": 11}, "batch_size must be at most 10 for the datapoints, got 11"),
        ({"batch_size": 6, "world_size": 2}, "batch_size must be at most 5 for the datapoints, got 6"),
        ({"rank": 1}, "rank must be between 0 and world_size - 1 = 0, got 1"),
        ({"y": torch.arange(9)}, "there are 9 labels for 10 datapoints"),
    ],
)
def test_invalid_arguments_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        BatchLoader(numbered(10), **({"batch_size": 5, "block_size": 1} | change))


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("world_size", [1, 2])
def test_conditions_stay_with_their_datapoints(labels, world_size):
    n = 60
    c = torch.stack([torch.arange(n), -torch.arange(n)], 1).float()
    y = torch.arange(n) if labels else None
    for rank in range(world_size):
        options = {"batch_size": 5, "shuffle": True, "rank": rank, "world_size": world_size}
        blocks = BatchLoader(numbered(n), y, c, block_size=4, **options)
        for x, label, condition in blocks:
            assert condition.shape == (*x.shape[:2], 2)
            assert condition[..., 0].flatten().tolist() == number(x)
            assert label is None if not labels else torch.equal(label, condition[..., 0].long())
        for x, _, condition in BatchLoader(numbered(n), y, c, **options):
            assert condition[:, 0].tolist() == number(x)


def test_there_is_a_condition_for_each_datapoint():
    with pytest.raises(ValueError, match="there are 3 conditions for 4 datapoints"):
        BatchLoader(numbered(4), c=torch.zeros(3, 1), batch_size=2)


@pytest.mark.parametrize(
    ("device", "minibatches", "size", "expected"),
    [
        ("cpu", 500, 100, 10),
        ("cuda", 500, 313_600, 250),  # MNIST in minibatches of 100
        ("cuda", 17, 224_000, 17),
        ("cuda", 300, 100, 150),
        ("cuda", 251, 100, 250),  # a prime
        ("cuda", 1000, 2**26, 4),
        ("cuda", 1000, 2**30, 1),
    ],
)
def test_blocks_are_as_long_as_pays(device, minibatches, size, expected):
    assert automatic_block_size(device, minibatches, size) == expected

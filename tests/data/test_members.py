"""The loaders of several members: each as it would be alone, all at the same place."""

import pytest
import torch

from aevb.data.loader import BatchLoader
from aevb.data.members import MemberLoader

X = torch.arange(50, dtype=torch.uint8).view(50, 1, 1, 1)


def loader(seed: int, binarize: bool = False) -> BatchLoader:
    return BatchLoader(X, batch_size=4, shuffle=True, seed=seed, block_size=3, binarize=binarize)


def together(binarize: bool = False) -> MemberLoader:
    return MemberLoader([loader(seed, binarize) for seed in (5, 6, 7)])


def blocks(items: list) -> list:
    return [[part[0].tolist() for part in item] for item in items]


@pytest.mark.parametrize("binarize", [False, True])
def test_each_member_has_the_order_and_the_draws_of_its_own_seed(binarize):
    found, alone = together(binarize), [loader(seed, binarize) for seed in (5, 6, 7)]
    for _ in range(2):
        items, expected = list(found), list(zip(*alone, strict=True))
        assert len(items) == len(found) == 4
        assert blocks(items) == blocks(expected)
    assert blocks(items)[0][0] != blocks(items)[0][1]


def test_it_continues_where_it_stood():
    first = together()
    iterator = iter(first)
    next(iterator), next(iterator)
    first.give_back(1)
    state = first.state_dict()
    second = together()
    second.load_state_dict(state)
    rest = [first_of_cut, *_] = blocks(list(second))
    whole = blocks(list(together()))
    assert first_of_cut == [part[2:] for part in whole[1]]
    assert rest[1:] == whole[2:]


def test_another_number_of_members_is_refused():
    with pytest.raises(ValueError, match="of 3 members for 2"):
        MemberLoader([loader(5), loader(6)]).load_state_dict(together().state_dict())


def test_other_seeds_are_refused():
    with pytest.raises(ValueError, match="seed was 5 and is 6"):
        MemberLoader([loader(seed) for seed in (6, 7, 8)]).load_state_dict(together().state_dict())

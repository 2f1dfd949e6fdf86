"""Labels as conditions, of which some are hidden."""

import pytest
import torch

from aevb.data import BatchLoader, InMemoryDataModule, Split, Splits
from aevb.data.labels import balanced, count_classes, hide, one_hot

Y = torch.arange(60) % 3


class Labelled(InMemoryDataModule):
    """60 datapoints of three classes, and 9 each for validation and test."""

    labels = (Y, Y[:9], Y[:9])

    def load(self) -> Splits:
        return Splits(*(Split(torch.arange(len(y)).view(-1, 1, 1, 1).float(), y) for y in self.labels))


class Unlabelled(InMemoryDataModule):
    def load(self) -> Splits:
        return Splits(*(Split(torch.zeros(20, 1, 1, 1)) for _ in range(3)))


def test_as_many_labels_of_each_class_are_drawn_by_the_seed():
    known = balanced(Y, 7, seed=0)
    assert Y[known].bincount().tolist() == [3, 2, 2]
    assert torch.equal(known, balanced(Y, 7, seed=0))
    assert not torch.equal(known, balanced(Y, 7, seed=1))
    assert len(known.unique()) == 7
    assert torch.equal(balanced(Y, 60, seed=3), torch.arange(60))


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (61, r"^num_labels must be at most 60, the size of the training set, got 61$"),
        (12, r"^num_labels=12 asks for 4 labels of class 2, which has 1$"),
    ],
)
def test_more_labels_than_there_are_are_refused(count, message):
    y = Y if count > 60 else torch.tensor([0] * 30 + [1] * 29 + [2])
    with pytest.raises(ValueError, match=message):
        balanced(y, count, seed=0)


def test_labels_are_one_hot_and_in_range():
    assert one_hot(torch.tensor([2, 0]), 3, "val").tolist() == [[0, 0, 1], [1, 0, 0]]
    with pytest.raises(ValueError, match=r"^test data have the label 3, which is out of the range of .*, 0 to 2$"):
        one_hot(torch.tensor([2, 3]), 3, "test")
    with pytest.raises(ValueError, match=r"^data\.condition=labels needs classes .*, got labels from -1 to 2$"):
        count_classes(torch.tensor([-1, 2]))
    assert count_classes(torch.tensor([0, 3]), [torch.tensor([2, 1])]) == 4
    with pytest.raises(ValueError, match=r"without gaps, and no datapoint has the label 0; number them by"):
        count_classes(torch.tensor([1, 2, 3]), [torch.tensor([1])])


def test_labels_become_conditions_and_are_hidden_in_training_alone():
    data = Labelled(batch_size=10, condition="labels", num_labels=6)
    train, val, _ = data.splits
    known = train.c.isfinite().all(1)
    assert Y[known].bincount().tolist() == [2, 2, 2]
    assert torch.equal(train.c[known].argmax(1), Y[known])
    assert torch.equal(val.c.argmax(1), val.y)
    assert data.condition_shape == (3,)
    assert not torch.equal(known, Labelled(condition="labels", num_labels=6, split_seed=1, batch_size=10)
                           .splits.train.c.isfinite().all(1))  # fmt: skip
    assert data.fingerprint["train"] != Labelled(batch_size=10, condition="labels").fingerprint.get("train")


def test_labels_that_are_missing_or_in_vain_are_refused():
    with pytest.raises(ValueError, match=r"^data\.condition=labels needs labels, and the data have none$"):
        Unlabelled(batch_size=5, condition="labels").setup()
    with pytest.raises(ValueError, match=r"^data\.labels_per_batch needs data\.num_labels"):
        Labelled(num_labels=6)
    for settings in ({"labels_per_batch": 10}, {"labels_per_batch": 3, "world_size": 2}):
        world_size = settings.pop("world_size", 1)
        data = Labelled(batch_size=10, condition="labels", num_labels=6, **settings)
        with pytest.raises(ValueError, match=r"^data\.labels_per_batch must be below data\.batch_size, 10, and a mult"):
            data._labels_per_rank(world_size)


@pytest.mark.parametrize("world_size", [1, 2])
def test_every_minibatch_has_its_share_of_labels_and_an_epoch_all_others(world_size):
    c = hide(one_hot(Y, 3, "train"), balanced(Y, 6, seed=0))
    x = torch.arange(60).view(-1, 1, 1, 1).float()
    options = {"batch_size": 5, "shuffle": True, "block_size": 3, "labelled_per_batch": 2, "world_size": world_size}
    loaders = [BatchLoader(x, None, c, rank=rank, **options) for rank in range(world_size)]
    items = [list(loader) for loader in loaders]
    assert [len(loader) for loader in loaders] == [len(blocks) for blocks in items]
    others, labelled = [], []
    for blocks in items:
        for values, _, conditions in blocks:
            known = conditions.isfinite().all(-1)
            assert (known.sum(1) == 2).all()
            labelled += values[known].flatten().tolist()
            others += values[~known].flatten().tolist()
    assert len(others) == len(set(others)) == 54
    counts = torch.tensor(labelled).long().bincount(minlength=60)[c.isfinite().all(1)]
    assert counts.min() >= 1
    assert counts.max() - counts.min() <= 1  # in rotation


def test_a_stratified_epoch_continues_where_it_stood():
    c = hide(one_hot(Y, 3, "train"), balanced(Y, 6, seed=0))
    x = torch.arange(60).view(-1, 1, 1, 1).float()
    options = {"batch_size": 5, "shuffle": True, "block_size": 2, "labelled_per_batch": 2}
    whole = [item[0] for item in BatchLoader(x, None, c, **options)]
    loader = BatchLoader(x, None, c, **options)
    iterator = iter(loader)
    first = [next(iterator)[0] for _ in range(3)]
    resumed = BatchLoader(x, None, c, **options)
    resumed.load_state_dict(loader.state_dict())
    rest = [item[0] for item in resumed]
    assert all(torch.equal(a, b) for a, b in zip(whole, first + rest, strict=True))
    with pytest.raises(ValueError, match="another order: labelled_per_batch"):
        BatchLoader(x, None, c, **(options | {"labelled_per_batch": 1})).load_state_dict(loader.state_dict())

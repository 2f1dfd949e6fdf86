"""Schedules of the learning rate: closed forms, and what reaches the optimizer."""

import math
from functools import partial
from itertools import groupby
from types import SimpleNamespace

import numpy
import pytest
import pytorch_lightning as pl
import torch
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from aevb.data import Array, BatchLoader
from aevb.errors import ConfigError
from aevb.objectives import SGVB
from aevb.training.module import AEVB
from aevb.training.schedules import Burda, OneCycle, epochs_of_run, with_length

from ..small import quiet_trainer, small_model


def sgd():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)


def test_burda_has_the_stages_of_the_paper():
    schedule = Burda(sgd())
    factors = [schedule.factor(epoch) for epoch in range(3280)]
    stages = [(factor, len(list(group))) for factor, group in groupby(factors)]
    assert [length for _, length in stages] == [3**i for i in range(8)]
    assert [factor for factor, _ in stages] == pytest.approx([10 ** (-i / 7) for i in range(8)])
    assert schedule.factor(100_000) == pytest.approx(0.1)


@pytest.mark.parametrize(("epochs", "warm_up"), [(100, 0.3), (10, 0.25), (7, 0.9), (2, 0.6)])
def test_one_cycle_has_the_learning_rates_of_torch(epochs, warm_up):
    optimizer = sgd()
    torchs = OneCycleLR(optimizer, max_lr=1.0, total_steps=epochs, pct_start=warm_up, cycle_momentum=False)
    expected = []
    for _ in range(epochs):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(expected) < epochs:
            torchs.step()
    schedule = OneCycle(sgd(), epochs, warm_up)
    assert [schedule.factor(epoch) for epoch in range(epochs)] == pytest.approx(expected, rel=1e-9)
    assert schedule.factor(10 * epochs) == pytest.approx(4e-6)


@pytest.mark.parametrize("setting", [{"stages": 0}, {"growth": 0}, {"decay": 0}])
def test_bad_setting_is_named(setting):
    with pytest.raises(ValueError, match=f"^{next(iter(setting))} must be"):
        Burda(sgd(), **setting)


class StepSizes(pl.Callback):
    def __init__(self, stop_after=None):
        self.seen, self.stop_after = [], stop_after

    def on_train_batch_end(self, trainer, module, *arguments):
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])
        if len(self.seen) == self.stop_after:
            trainer.should_stop = True


BURDA = partial(Burda, stages=3)
SEVENTH = 10 ** (-1 / 7)
SCHEDULES = {
    "burda": (BURDA, [1, *3 * [SEVENTH], *3 * [SEVENTH**2]]),
    "cosine": (partial(CosineAnnealingLR, T_max=6), [0.5 * (1 + math.cos(math.pi * epoch / 6)) for epoch in range(7)]),
    "one cycle": (
        partial(OneCycle, epochs=4, warm_up=0.5),
        [0.04, 1, 0.500002, 4e-6, 4e-6, 4e-6, 4e-6],
    ),
    "linear, then steps": (
        lambda optimizer: SequentialLR(
            optimizer, [LinearLR(optimizer, 0.5, total_iters=2), StepLR(optimizer, 2, gamma=0.1)], [2]
        ),
        [0.5, 0.75, 1, 1, 0.1, 0.1, 0.01],
    ),
    # A threshold that nothing passes: only the first validation counts as better than none.
    "plateau": (
        partial(ReduceLROnPlateau, factor=0.5, patience=0, threshold=1e9, threshold_mode="abs"),
        [1, 1, 0.5, 0.25, 0.125, 0.0625, 0.03125],
    ),
}


def trained(tmp_path, epochs, schedule=BURDA, checkpoint=None, stop_after=None, max_samples=None):
    """The learning rate of each epoch of 40 samples."""
    optimizer = partial(torch.optim.Adam, lr=0.05)
    vae, objective = small_model((1, 2, 2)), SGVB(weight_prior=False)
    module = AEVB(vae, objective, optimizer, schedule=schedule, max_samples=max_samples)
    seen = StepSizes(stop_after)
    trainer = quiet_trainer(max_epochs=epochs, callbacks=[seen], num_sanity_val_steps=2)
    data = Array(path=str(tmp_path / "x.npy"), batch_size=10, block_size=4, val_fraction=0.1, test_fraction=0.1)
    trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    return seen.seen


@pytest.mark.parametrize("name", SCHEDULES)
def test_learning_rate_follows_the_schedule_also_when_resumed(name, tmp_path):
    numpy.save(tmp_path / "x.npy", numpy.random.default_rng(0).random((50, 1, 2, 2), dtype=numpy.float32))
    schedule, factors = SCHEDULES[name]
    expected = [0.05 * factor for factor in factors]
    assert trained(tmp_path, 7, schedule) == pytest.approx(expected)
    assert trained(tmp_path, 3, schedule) == pytest.approx(expected[:3])
    assert trained(tmp_path, 7, schedule, tmp_path / "last.ckpt") == pytest.approx(expected[3:])


def one_cycle(length):
    return [0.05 * OneCycle(sgd(), length).factor(epoch) for epoch in range(length)]


OF_THE_RUN = {
    "cosine": (
        partial(CosineAnnealingLR, T_max=None),
        lambda length: [0.025 * (1 + math.cos(math.pi * epoch / length)) for epoch in range(length)],
    ),
    "one cycle": (OneCycle, one_cycle),
    "torch's one cycle": (partial(OneCycleLR, max_lr=0.05), one_cycle),
    "polynomial": (
        partial(PolynomialLR, total_iters=None),
        lambda length: [0.05 * (1 - epoch / length) for epoch in range(length)],
    ),
}


@pytest.mark.parametrize("name", OF_THE_RUN)
def test_schedule_whose_length_is_left_to_the_run_ends_with_it(name, tmp_path):
    """A resumed run has the same learning rates to the last bit, an extended one goes on with those of the longer."""
    numpy.save(tmp_path / "x.npy", numpy.random.default_rng(0).random((50, 1, 2, 2), dtype=numpy.float32))
    schedule, expected = OF_THE_RUN[name]
    whole = trained(tmp_path, 7, schedule)
    assert whole == pytest.approx(expected(7))
    assert trained(tmp_path, 7, schedule, stop_after=3) == whole[:3]
    assert trained(tmp_path, 7, schedule, tmp_path / "last.ckpt") == whole[3:]
    assert trained(tmp_path, 4, schedule) == pytest.approx(expected(4))
    assert trained(tmp_path, 7, schedule, tmp_path / "last.ckpt") == whole[4:]
    assert trained(tmp_path, -1, schedule, max_samples=250) == whole


def test_epochs_of_the_run_are_those_of_all_ranks():
    loader = BatchLoader(torch.zeros(45, 1), batch_size=10, block_size=2, world_size=2)
    trainer = SimpleNamespace(train_dataloader=loader, num_training_batches=1, world_size=2, max_epochs=-1)
    assert [epochs_of_run(trainer, samples) for samples in (40, 41, 100, None)] == [1, 2, 3, None]
    trainer.max_epochs = 2
    assert [epochs_of_run(trainer, samples) for samples in (40, 100, None)] == [1, 2, 2]
    limited = BatchLoader(torch.zeros(45, 1), batch_size=5, block_size=2)
    trainer = SimpleNamespace(train_dataloader=limited, num_training_batches=2, world_size=1, max_epochs=-1)
    assert epochs_of_run(trainer, 100) == 5
    other = torch.utils.data.DataLoader(torch.zeros(45, 1), batch_size=10, drop_last=True)
    trainer = SimpleNamespace(train_dataloader=other, num_training_batches=4, world_size=1, max_epochs=-1)
    assert epochs_of_run(trainer, 100) == 3
    trainer.train_dataloader = iter([])
    assert epochs_of_run(trainer, 100) is None


def test_length_that_is_given_is_kept():
    for schedule in (
        partial(CosineAnnealingLR, T_max=5), partial(OneCycle, epochs=5), partial(PolynomialLR), CosineAnnealingLR,
        partial(OneCycleLR, max_lr=1.0, epochs=5, steps_per_epoch=1), partial(StepLR, step_size=5), BURDA,
    ):  # fmt: skip
        assert with_length(schedule, 9) is schedule


def test_schedule_of_a_run_without_an_end_is_refused(tmp_path):
    numpy.save(tmp_path / "x.npy", numpy.random.default_rng(0).random((50, 1, 2, 2), dtype=numpy.float32))
    with pytest.raises(ConfigError, match=r"^schedule: it lasts as long as the run, but neither max_samples nor "):
        trained(tmp_path, -1, OneCycle, stop_after=1)


def test_presets_last_as_long_as_the_run_with_several_seeds(run_train):
    folder, _ = run_train(
        "seeds=2", "schedule=cosine", "max_samples=3000", "model.encoder.hidden=[8]", "logger=none",
        "callbacks.images=null",
    )  # fmt: skip
    schedules = folder.load_checkpoint("last")[1]["lr_schedulers"]
    assert [(state["T_max"], state["last_epoch"]) for state in schedules] == [(3, 2), (3, 2)]


@pytest.mark.parametrize("schedule", [partial(Burda, stages=0), partial(StepLR, step=3), partial(StepLR)])
def test_bad_schedule_is_named(schedule):
    module = AEVB(small_model((1, 2, 2)), SGVB(), partial(torch.optim.Adam), schedule=schedule)
    with pytest.raises(ConfigError, match=r"^schedule"):
        module.configure_optimizers()

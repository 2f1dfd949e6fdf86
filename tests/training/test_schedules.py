"""Schedules of the step size: closed forms, and what reaches the optimizer."""

from functools import partial
from itertools import groupby

import numpy
import pytest
import pytorch_lightning as pl
import torch

from aevb.data import Array
from aevb.objectives import SGVB
from aevb.training.module import AEVB
from aevb.training.schedules import Burda

from ..small import quiet_trainer, small_model


def test_burda_has_the_stages_of_the_paper():
    factors = [Burda()(epoch) for epoch in range(3280)]
    stages = [(factor, len(list(group))) for factor, group in groupby(factors)]
    assert [length for _, length in stages] == [3**i for i in range(8)]
    assert [factor for factor, _ in stages] == pytest.approx([10 ** (-i / 7) for i in range(8)])
    assert Burda()(100_000) == pytest.approx(0.1)


@pytest.mark.parametrize("setting", [{"stages": 0}, {"growth": 0}, {"decay": 0}])
def test_bad_setting_is_named(setting):
    with pytest.raises(ValueError, match=f"^schedule.{next(iter(setting))} must be"):
        Burda(**setting)


class StepSizes(pl.Callback):
    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, module, *arguments):
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])


def trained(tmp_path, epochs, checkpoint=None):
    module = AEVB(
        small_model((1, 2, 2)), SGVB(weight_prior=False), partial(torch.optim.Adam, lr=0.5), schedule=Burda(stages=3)
    )
    seen = StepSizes()
    trainer = quiet_trainer(max_epochs=epochs, callbacks=[seen], limit_val_batches=0)
    data = Array(path=str(tmp_path / "x.npy"), batch_size=10, block_size=4, val_fraction=0.1, test_fraction=0.1)
    trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    return seen.seen


def test_optimizer_follows_the_schedule_also_when_resumed(tmp_path):
    numpy.save(tmp_path / "x.npy", numpy.random.default_rng(0).random((50, 1, 2, 2), dtype=numpy.float32))
    expected = [0.5] + 3 * [0.5 * 10 ** (-1 / 7)] + 3 * [0.5 * 10 ** (-2 / 7)]
    assert trained(tmp_path, 7) == pytest.approx(expected)
    assert trained(tmp_path, 3) == pytest.approx(expected[:3])
    assert trained(tmp_path, 7, tmp_path / "last.ckpt") == pytest.approx(expected[3:])

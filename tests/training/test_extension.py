"""A run that is extended equals the run that had the later end from the start, to the last bit."""

from functools import partial

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR

from aevb.data import InMemoryDataModule, Split, Splits
from aevb.objectives import SGVB
from aevb.training.callbacks import AtomicCheckpointIO
from aevb.training.module import AEVB

from ..small import quiet_trainer, small_model


class Noise(InMemoryDataModule):
    """73 training images; minibatches of 5 in blocks of 4 give blocks of 4, 4, 4 and 2 minibatches an epoch."""

    def load(self) -> Splits:
        x = torch.rand(100, 1, 3, 3, generator=torch.Generator().manual_seed(0)) < 0.3
        return Splits(*(Split(part) for part in x.split([73, 20, 7])))


def fit(path, ckpt_path=None, max_samples=None, **options) -> AEVB:
    """Train until an end, and write the checkpoint of it to `path`."""
    torch.manual_seed(0)
    module = AEVB(
        small_model((1, 3, 3)),
        SGVB(weight_prior=False),
        partial(torch.optim.Adam, lr=0.01),
        max_samples=max_samples,
        schedule=partial(LambdaLR, lr_lambda=lambda epoch: 1 / (1 + epoch)),
        steps="eager",
    )
    options = {"max_epochs": -1, "num_sanity_val_steps": 0, "plugins": [AtomicCheckpointIO()]} | options
    trainer = quiet_trainer(**options)
    data = Noise(batch_size=5, block_size=4, binarization="none")
    trainer.fit(module, data, ckpt_path=ckpt_path, weights_only=True)
    trainer.save_checkpoint(path)
    return module


def assert_same(a: AEVB, b: AEVB) -> None:
    assert a.samples_seen == b.samples_seen
    assert a.trainer.current_epoch == b.trainer.current_epoch
    for name, value in a.state_dict().items():
        assert torch.equal(value, b.state_dict()[name]), name


# 70 samples an epoch, 20 a block (the last has 10). Ends in the first block, at a block's end, in the last block of an
# epoch, at an epoch's end, in the first block of the second epoch; one that is no multiple of a minibatch.
@pytest.mark.parametrize("limit", [{}, {"limit_train_batches": 2}], ids=["whole", "limited"])
@pytest.mark.parametrize("ends", [[5], [20], [33], [65], [70], [75], [90], [15, 35, 40, 45, 110], [70, 140]])
def test_extended_run_equals_the_longer_one(tmp_path, ends, limit):
    whole = fit(tmp_path / "whole.ckpt", max_samples=185, **limit)
    before = None
    for number, end in enumerate([*ends, 185]):
        after = tmp_path / f"{number}.ckpt"
        extended = fit(after, before, max_samples=end, **limit)
        assert extended.samples_seen == -(-end // 5) * 5
        before = after
    assert_same(whole, extended)


def test_epochs_may_be_followed_by_samples_and_these_by_epochs(tmp_path):
    whole = fit(tmp_path / "whole.ckpt", max_epochs=4)
    fit(tmp_path / "1.ckpt", max_epochs=1)
    fit(tmp_path / "2.ckpt", tmp_path / "1.ckpt", max_samples=125)
    assert_same(whole, fit(tmp_path / "3.ckpt", tmp_path / "2.ckpt", max_epochs=4))


def test_end_that_is_reached_may_be_resumed_without_moving_on(tmp_path):
    whole = fit(tmp_path / "whole.ckpt", max_samples=185)
    fit(tmp_path / "1.ckpt", max_samples=95)
    fit(tmp_path / "2.ckpt", tmp_path / "1.ckpt", max_samples=95)
    fit(tmp_path / "3.ckpt", tmp_path / "2.ckpt", max_samples=50)
    assert_same(whole, fit(tmp_path / "4.ckpt", tmp_path / "3.ckpt", max_samples=185))


@pytest.mark.slow
def test_two_processes_are_extended_exactly(run_train, tmp_path):
    two = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "schedule=burda"]
    small = ["model.encoder.hidden=[16]", "logger=none", "callbacks.images=null", "callbacks.progress=null"]
    whole, _ = run_train(*two, *small, "max_samples=4000", "trainer.check_val_every_n_epoch=100", folder=tmp_path / "a")
    part, _ = run_train(*two, *small, "max_samples=2300", "trainer.check_val_every_n_epoch=100", folder=tmp_path / "b")
    run_train(f"resume={part.path}", "max_samples=4000", folder=part.path)
    (_, first), (_, second) = whole.load_checkpoint("last"), part.load_checkpoint("last")
    for name, value in first["state_dict"].items():
        assert torch.equal(value, second["state_dict"][name]), name

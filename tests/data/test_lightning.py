"""The loader under a real Trainer: sharding, and checkpoints that continue in the middle of an epoch."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from aevb.data import BatchLoader, InMemoryDataModule, Split, Splits

from ..small import quiet_trainer


class Numbers(InMemoryDataModule):
    """73 training datapoints whose label is their number; 23 and 11 more to evaluate."""

    def load(self) -> Splits:
        def numbers(start, stop):
            return Split(torch.full((stop - start, 1, 2, 2), 100, dtype=torch.uint8), torch.arange(start, stop))

        return Splits(numbers(0, 73), numbers(73, 96), numbers(96, 107))


class Recorder(pl.LightningModule):
    """Writes down every batch it sees. The hooks are called with the recorder."""

    def __init__(self, after_batch=None, after_epoch=None):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen: dict[str, list] = {"train": [], "validate": [], "test": []}
        self.after_batch, self.after_epoch = after_batch, after_epoch

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def training_step(self, batch):
        self.seen["train"].append((self.current_epoch, batch[0].sum().item(), batch[1].tolist()))
        return self.weight * batch[0].mean()

    def validation_step(self, batch):
        self.seen["validate"].append(batch[1].tolist())

    def test_step(self, batch):
        self.seen["test"].append(batch[1].tolist())

    def on_train_batch_end(self, *args):
        if self.after_batch:
            self.after_batch(self)

    def on_train_epoch_end(self):
        if self.after_epoch:
            self.after_epoch(self)


def fit(recorder, ckpt_path=None, data=None, **kwargs):
    options = {"max_epochs": 4, "num_sanity_val_steps": 1} | kwargs
    trainer = quiet_trainer(**options)
    trainer.fit(recorder, datamodule=data or numbers(), ckpt_path=ckpt_path, weights_only=True)
    return trainer


def numbers(**kwargs) -> Numbers:
    return Numbers(**({"batch_size": 5, "block_size": 3, "binarization": "dynamic", "eval_batch_size": 10} | kwargs))


def save_at(path: Path, batch: int):
    """Saves a checkpoint after so many training batches, in the hook where Lightning's own callback does."""

    def save(recorder):
        if len(recorder.seen["train"]) == batch:
            recorder.trainer.save_checkpoint(path)

    return save


# 14 minibatches of 73 datapoints, in blocks of 3: 5 blocks in an epoch.
@pytest.mark.parametrize("limit", [{}, {"limit_train_batches": 4}], ids=["whole", "limited"])
@pytest.mark.parametrize("stop", [1, 2, 4, 5, 6, 8, 9, 10, 15])
def test_a_resumed_fit_sees_the_same_batches(tmp_path, stop, limit):
    recorder = Recorder(save_at(tmp_path / "a.ckpt", stop))
    fit(recorder, **limit)
    assert len(recorder.seen["train"]) == 4 * limit.get("limit_train_batches", 5)
    resumed = Recorder()
    fit(resumed, tmp_path / "a.ckpt", **limit)
    assert resumed.seen["train"] == recorder.seen["train"][stop:]


@pytest.mark.parametrize("limit", [{}, {"limit_train_batches": 4}], ids=["whole", "limited"])
@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_a_fit_resumed_at_the_end_of_an_epoch_sees_the_same_batches(tmp_path, epochs, limit):
    def save(recorder):
        if recorder.current_epoch == epochs - 1:
            recorder.trainer.save_checkpoint(tmp_path / "a.ckpt")

    recorder = Recorder(after_epoch=save)
    fit(recorder, **limit)
    resumed = Recorder()
    fit(resumed, tmp_path / "a.ckpt", **limit)
    assert resumed.seen["train"] == recorder.seen["train"][epochs * limit.get("limit_train_batches", 5) :]


def test_a_finished_fit_can_go_on(tmp_path):
    recorder = Recorder()
    fit(recorder)
    first = Recorder()
    fit(first, max_epochs=2).save_checkpoint(tmp_path / "a.ckpt")
    second = Recorder()
    fit(second, tmp_path / "a.ckpt")
    assert first.seen["train"] + second.seen["train"] == recorder.seen["train"]


def test_every_evaluation_datapoint_is_seen_once():
    recorder = Recorder()
    trainer = fit(recorder, max_epochs=1, num_sanity_val_steps=0)
    trainer.test(recorder, datamodule=numbers(), verbose=False)
    assert recorder.seen["validate"] == [list(range(73, 83)), list(range(83, 93)), list(range(93, 96))]
    assert recorder.seen["test"] == [list(range(96, 106)), [106]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_size": 70}, "data: train data are not those that the run was trained with; "),
        ({"binarization": "static"}, "data: train and val and test data are not those that the run was trained with; "),
        ({"batch_size": 6}, "batch_size was 5 and is 6"),
        ({"seed": 3}, "seed was 0 and is 3"),
    ],
)
def test_a_fit_is_not_resumed_on_other_data(tmp_path, change, message):
    fit(Recorder(save_at(tmp_path / "a.ckpt", 2)), max_epochs=1)
    with pytest.raises(ValueError, match=message):
        fit(Recorder(), tmp_path / "a.ckpt", data=numbers(**change))


def test_a_checkpoint_can_be_tested_on_other_data(tmp_path):
    trainer = fit(Recorder(save_at(tmp_path / "a.ckpt", 2)), max_epochs=1)
    other = Recorder()
    trainer.test(other, datamodule=numbers(binarization="none"), ckpt_path=tmp_path / "a.ckpt", verbose=False)
    assert list(itertools.chain(*other.seen["test"])) == list(range(96, 107))


def test_batch_size_that_processes_cannot_share_is_refused(monkeypatch):
    monkeypatch.setattr(Numbers, "_rank", lambda self: (1, 2))
    assert numbers(batch_size=6).train_dataloader().batch_size == 3
    with pytest.raises(ValueError, match=r"^data.batch_size must be a multiple of 2, the number of processes, got 5"):
        numbers(batch_size=5).train_dataloader()


@pytest.mark.slow
def test_two_processes_share_the_data(tmp_path):
    """Really two: what each rank sees, against what one process with the same batch size sees."""
    script = f"""
import json
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.data.test_lightning import Recorder, fit, numbers
recorder = Recorder()
data = numbers(batch_size=10)
trainer = fit(recorder, data=data, devices=2, strategy="ddp", max_epochs=2, num_sanity_val_steps=0)
trainer.test(recorder, datamodule=data, verbose=False)
Path({str(tmp_path)!r}, f"{{trainer.global_rank}}.json").write_text(json.dumps(recorder.seen))
"""
    (tmp_path / "script.py").write_text(script)
    # Lightning would take this test for one of the processes of a cluster if it were told of one.
    env = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "PYTEST_"))} | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, tmp_path / "script.py"], check=True, env=env, timeout=250, capture_output=True)
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    one = BatchLoader(torch.zeros(73, 1), torch.arange(73), batch_size=10, shuffle=True, block_size=1)
    expected = [y[0].tolist() for _ in range(2) for _, y in one]
    seen = [[minibatch for _, _, block in rank["train"] for minibatch in block] for rank in ranks]
    assert [a + b for a, b in zip(*seen, strict=True)] == expected
    for part, expected in (("validate", [*range(73, 96)] * 2), ("test", [*range(96, 107)])):
        assert sorted(i for rank in ranks for batch in rank[part] for i in batch) == sorted(expected)

"""What Python looks at late on a GPU, emulated on the CPU by copies that arrive when they are waited for."""

import csv
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from aevb.data import BatchLoader
from aevb.errors import NonFiniteLossError
from aevb.objectives import SGVB
from aevb.training import readings
from aevb.training.callbacks import Checkpoint, Metrics
from aevb.training.loggers import MetricsFile
from aevb.training.module import AEVB
from aevb.training.readings import Readings

from ..small import quiet_trainer, small_model

X = torch.randint(256, (200, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
DIVERGES = 1e30
"""A learning rate."""


def start_copy(values: Tensor) -> Callable[[], Tensor]:
    copy = values.detach().clone()
    return lambda: copy


def make_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "ASYNCHRONOUS", ("cpu",))
    monkeypatch.setattr(readings, "start_copy", start_copy)


late = pytest.fixture(make_late)


def test_values_on_the_cpu_are_used_at_once() -> None:
    found: list[float] = []
    Readings().add(torch.tensor([1.0]), lambda values: found.extend(values.tolist()))
    assert found == [1.0]


def test_later_values_are_used_in_their_order(late: None) -> None:
    found: list[float] = []
    pending = Readings()
    for value in (1.0, 2.0):
        pending.add(torch.tensor([value]), lambda values: found.extend(values.tolist()))
    assert not found
    for _ in range(2):
        pending.settle()
        assert found == [1.0, 2.0]


class Blocks(pl.Callback):
    """Counts blocks."""

    def __init__(self) -> None:
        self.number = 0

    def on_train_batch_end(self, *arguments: Any) -> None:
        self.number += 1


def fit(folder: Path, lr: float, validation: bool = False) -> tuple[str, int, list[dict[str, str]], dict[str, Any]]:
    """Train on blocks of five minibatches; returns the error, the blocks, the rows of metrics.csv and last.ckpt."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    optimizer = partial(torch.optim.SGD, lr=lr)
    module = AEVB(small_model((1, 4, 4)), SGVB(), optimizer, steps="eager", max_samples=400)
    loader = BatchLoader(X, batch_size=10, shuffle=True, seed=0, block_size=5)
    blocks, checkpoint = Blocks(), Checkpoint(folder, every_samples=1)
    callbacks = [blocks, Metrics(1), checkpoint]
    trainer = quiet_trainer(max_epochs=5, callbacks=callbacks, logger=[MetricsFile(folder / "metrics.csv")])
    error = ""
    try:
        trainer.fit(module, loader, BatchLoader(X[:20], batch_size=10) if validation else None)
    except NonFiniteLossError as found:
        error = str(found)
    rows = []
    if (folder / "metrics.csv").exists():
        with (folder / "metrics.csv").open() as file:
            rows = [{name: v for name, v in row.items() if "second" not in name} for row in csv.DictReader(file)]
    saved = torch.load(checkpoint.last, weights_only=True) if checkpoint.last.exists() else {}
    return error, blocks.number, rows, saved


@pytest.mark.parametrize("validation", [False, True])
def test_late_metrics_and_checkpoints_are_those_of_a_cpu(validation, tmp_path, monkeypatch) -> None:
    _, *expected = fit(tmp_path / "at_once", 0.01, validation)
    make_late(monkeypatch)
    error, *found = fit(tmp_path / "late", 0.01, validation)
    assert not error
    assert found[:2] == expected[:2]
    assert found[2]["metrics_rows"] == expected[2]["metrics_rows"] == len(found[1])
    for name, weight in expected[2]["state_dict"].items():
        assert torch.equal(weight, found[2]["state_dict"][name])


def test_nothing_is_kept_of_a_block_with_a_loss_that_is_not_finite(late: None, tmp_path: Path) -> None:
    error, _, rows, saved = fit(tmp_path, DIVERGES)
    assert error.startswith("the loss became ")
    assert not rows
    assert not saved


def test_a_loss_that_is_not_finite_is_found_when_the_next_block_has_been_launched(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Checkpoint, "on_train_batch_end", pl.Callback.on_train_batch_end)  # it saves at the end alone
    at_once, *_ = fit(tmp_path / "at_once", DIVERGES)
    make_late(monkeypatch)
    error, blocks, rows, saved = fit(tmp_path / "late", DIVERGES)
    assert error == at_once  # which names the samples
    assert blocks == 1  # the second was launched and did not end
    assert not rows
    assert not saved

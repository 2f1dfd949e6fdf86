"""Training steps on a GPU: captured blocks replay what launching them computes, for every part, and resume exactly.

`python benchmarks/gpu_check.py` runs these tests.
"""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from aevb.data import BatchLoader
from aevb.errors import NonFiniteLossError
from aevb.objectives import SGVB
from aevb.training import members
from aevb.training.callbacks import Metrics
from aevb.training.module import AEVB
from aevb.training.steps import verified
from aevb.training.steps.capture import Captured
from aevb.training.steps.captured_members import BatchedInGraphs

from ...small import quiet_trainer
from . import fitting, test_batched
from .test_capture import CASES, MODEL, WAITING

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def show_reasons(caplog: Any) -> None:
    """Why steps are not captured, where a test fails for it."""
    caplog.set_level(logging.INFO, "aevb")


GPU: dict[str, Any] = {"accelerator": "gpu", "devices": 1}


def train(steps: str, optimizer: str = "adagrad", objective: Callable[[], Any] = SGVB, **options: Any) -> Any:
    model, resume = options.pop("model", MODEL), options.pop("resume", None)
    return fitting.train(objective(), model, optimizer, steps, options=GPU | options, resume=resume)


def assert_captured(result: Any) -> None:
    runner = result[1].runner
    assert runner.active.name == "captured"
    assert any(block.graph is not None for block in runner.blocks.values())


OPTIONS: tuple[dict[str, Any], ...] = ({}, {"gradient_clip_val": 0.5}, {"precision": "bf16-mixed"})


@pytest.mark.parametrize("optimizer", fitting.OPTIMIZERS)
@pytest.mark.parametrize("options", OPTIONS)
def test_captured_blocks_are_the_eager_steps(optimizer: str, options: dict[str, Any]) -> None:
    captured = train("auto", optimizer, **options)
    assert_captured(captured)
    fitting.assert_near(captured, train("eager", optimizer, **options))


@pytest.mark.parametrize("optimizer", fitting.OPTIMIZERS)
def test_graphs_have_the_bits_of_launched_steps(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    captured = train("auto", optimizer)
    assert_captured(captured)
    monkeypatch.setattr(Captured, "capture", Captured.launch)
    launched = train("auto", optimizer)
    assert all(block.graph is None for block in launched[1].runner.blocks.values())
    fitting.assert_same(captured, launched)


@pytest.mark.parametrize("optimizer", ["adagrad", "adam"])
def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(optimizer: str, tmp_path: Path) -> None:
    whole, half = train("auto", optimizer, max_epochs=3), train("auto", optimizer, max_epochs=1)
    half[2].save_checkpoint(tmp_path / "last.ckpt")
    resumed = train("auto", optimizer, max_epochs=3, resume=tmp_path / "last.ckpt")
    resumed[1].metrics[:0] = half[1].metrics
    fitting.assert_same(whole, resumed)


@pytest.mark.parametrize("name", [name for name in CASES if name not in WAITING])
def test_every_part_is_captured(name: str) -> None:
    objective, model = CASES[name]
    assert_captured(train("auto", objective=objective, model=model))


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS)
def test_programs_are_captured(options: dict[str, Any]) -> None:
    compiled = train("compiled", **options)
    assert compiled[1].runner.active.name == "compiled"
    fitting.assert_near(compiled, train("eager", **options))


class Refuse(pl.Callback):
    """Blocks of the last epochs may not wait for the device, from their start to the end of other callbacks."""

    def on_train_batch_start(self, trainer: Any, *arguments: Any) -> None:
        torch.cuda.set_sync_debug_mode("error" if trainer.current_epoch > 1 else "default")

    def on_train_batch_end(self, *arguments: Any) -> None:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("steps", ["auto", pytest.param("compiled", marks=pytest.mark.slow)])
def test_replayed_blocks_do_not_wait(steps: str) -> None:
    x = torch.randint(2, (200, 1, 4, 4), dtype=torch.uint8, device="cuda")
    loader = BatchLoader(x, batch_size=10, shuffle=True, block_size=5)
    trained = AEVB(MODEL(), SGVB(), fitting.OPTIMIZERS["adam"], schedule=fitting.HALVED, steps=steps)
    metrics = Metrics(1)
    quiet_trainer(**GPU, max_epochs=4, callbacks=[metrics, Refuse()]).fit(trained, loader)
    assert trained.samples_seen == metrics.every.last == 800


@pytest.mark.parametrize("steps", ["eager", "auto"])
def test_a_loss_that_is_not_finite_ends_training(steps: str) -> None:
    x = torch.randint(2, (200, 1, 4, 4), dtype=torch.uint8, device="cuda")
    loader = BatchLoader(x, batch_size=10, shuffle=True, block_size=5)
    trained = AEVB(MODEL(), SGVB(), partial(torch.optim.SGD, lr=1e30), steps=steps)
    with pytest.raises(NonFiniteLossError, match=r"became -?(nan|inf) at [1-4]0 samples"):
        quiet_trainer(**GPU, max_epochs=4).fit(trained, loader)


def test_waiting_steps_are_eager(caplog: Any) -> None:
    class Waiting(SGVB):
        def estimate(self, p: Any, q: Any, x: Any) -> Any:
            estimate = super().estimate(p, q, x)
            return estimate._replace(loss=estimate.loss * 2) if estimate.loss > 20 else estimate

    waiting = train("auto", objective=Waiting)
    assert [line for line in caplog.messages if line.startswith("training steps are eager, not captured")]
    fitting.assert_near(waiting, train("eager", objective=Waiting))


@pytest.mark.parametrize("optimizer", ["adagrad", "adam"])
def test_graphs_of_all_members_have_the_steps_of_each(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[BatchedInGraphs] = []

    def make(*given: Any) -> BatchedInGraphs:
        made.append(BatchedInGraphs(*given))
        return made[-1]

    monkeypatch.setattr(members, "BatchedInGraphs", make)
    found, alone = test_batched.fit_both(GPU | {"max_epochs": 3}, optimizer=optimizer)
    runner = made[0].runner
    assert runner is not None
    assert any(block.graph is not None for block in runner.blocks.values())
    for of_member, one in zip(found, alone, strict=True):
        for key, value in one.vae.state_dict().items():
            torch.testing.assert_close(of_member[key].cpu(), value.cpu(), rtol=2e-3, atol=2e-4)


def test_recorded_steps_are_the_eager_ones() -> None:
    recorded = train("recorded", "adam")
    assert recorded[1].runner.verified == verified.VERIFICATION
    fitting.assert_same(recorded, train("eager", "adam"))

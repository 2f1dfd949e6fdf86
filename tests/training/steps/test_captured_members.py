"""Steps of several members in one graph: those of each member up to rounding, with CUDA graphs emulated on the CPU."""

import logging
from functools import partial
from typing import Any

import pytest
import torch

from aevb.data.members import MemberLoader
from aevb.objectives import IWAE, WakeSleep
from aevb.training import members
from aevb.training.members import Members
from aevb.training.steps.captured_members import BatchedInGraphs

from ...small import quiet_trainer
from . import fitting
from .emulation import EmulatedGraphs
from .test_batched import EM, SEEDS, fit_both, loader, member

CASES: dict[str, dict[str, Any]] = {
    "adagrad": {"optimizer": "unfused"},
    "adagrad, two rates": {"optimizer": "unfused", "schedule": fitting.HALVED},
    "adagrad, clipped": {"optimizer": "unfused", "options": {"gradient_clip_val": 0.1}},
    "adam": {"optimizer": "adam"},
    "iwae": {"optimizer": "unfused", "objective": partial(IWAE, gradient="dreg")},
    "draws of data": {"optimizer": "unfused", "objective": WakeSleep},
}


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[BatchedInGraphs]:
    """What takes the steps of all members."""
    found: list[BatchedInGraphs] = []

    def make(steps: Any) -> BatchedInGraphs:
        found.append(BatchedInGraphs(steps, EmulatedGraphs()))
        return found[-1]

    monkeypatch.setitem(fitting.OPTIMIZERS, "unfused", partial(torch.optim.Adagrad, lr=0.05))
    monkeypatch.setattr(members, "Batched", make)
    return found


@pytest.mark.parametrize("name", CASES)
def test_graphs_of_all_members_have_the_steps_of_each(name: str, made: list[BatchedInGraphs], caplog: Any) -> None:
    caplog.set_level(logging.INFO, "aevb")
    case = CASES[name]
    found, alone = fit_both(**case | {"options": {"max_epochs": 3} | case.get("options", {})})
    assert not [line for line in caplog.messages if "in turn" in line]
    runner = made[0].runner
    assert runner is not None
    assert any(block.graph is not None for block in runner.blocks.values())
    assert (runner.optimizer.sums is not None) == (case["optimizer"] == "unfused" and "clipped" not in name)
    for of_member, module in zip(found, alone, strict=True):
        for key, value in module.vae.state_dict().items():
            torch.testing.assert_close(of_member[key], value, rtol=2e-3, atol=2e-4)


def test_what_cannot_be_batched_is_taken_in_turn(made: list[BatchedInGraphs], caplog: Any) -> None:
    caplog.set_level(logging.INFO, "aevb")
    found, alone = fit_both(objective=EM)
    (line,) = [line for line in caplog.messages if "in turn" in line]
    assert line.startswith("the members take their steps in turn: ")
    assert made[0].failed
    for of_member, module in zip(found, alone, strict=True):
        assert all(torch.equal(of_member[key], value) for key, value in module.vae.state_dict().items())


def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(tmp_path: Any) -> None:
    modules = []
    for epochs in ((3,), (1, 3)):
        for number, end in enumerate(epochs):
            module = Members([member(seed, optimizer="unfused") for seed in SEEDS])
            trainer = quiet_trainer(max_epochs=end, enable_checkpointing=False)
            path = str(tmp_path / "last.ckpt") if number else None
            trainer.fit(module, MemberLoader([loader(seed) for seed in SEEDS]), ckpt_path=path)
            trainer.save_checkpoint(tmp_path / "last.ckpt")
        modules.append(module)
    for key, value in modules[0].state_dict().items():
        assert torch.equal(value, modules[1].state_dict()[key]), key

"""Compiled steps: the eager ones up to rounding, and recorded where they cannot be."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from aevb import likelihoods
from aevb.objectives import IWAE, SGVB, WakeSleep
from aevb.training.steps import compiled, verified
from aevb.vae import VAE

from ...small import small_model
from .fitting import HALVED, SHAPE, assert_same, dropped_model, train

COMPILED: dict[str, tuple[Callable[[], Any], Callable[[], VAE], str]] = {
    "sgvb": (SGVB, partial(small_model, SHAPE), "adagrad"),
    "iwae_of_a_gaussian": (IWAE, partial(small_model, SHAPE, likelihood=likelihoods.Gaussian), "adam"),
    "wake_sleep": (WakeSleep, partial(small_model, SHAPE), "sgd"),
    "noise_and_buffers_of_networks": (SGVB, dropped_model, "adam"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_steps_are_the_eager_ones_up_to_rounding(name: str, caplog) -> None:
    caplog.set_level(logging.INFO, "aevb")
    objective, model, optimizer = COMPILED[name]
    (module, watch, trainer), (other, watch_other, trainer_other) = [
        train(objective(), model, optimizer, steps) for steps in ("compiled", "eager")
    ]
    assert type(watch.runner.active.program).__name__ == "Compilation", caplog.messages
    assert watch.runner.verified == verified.VERIFICATION
    assert trainer.global_step == trainer_other.global_step
    torch.testing.assert_close(watch.metrics, watch_other.metrics, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(module.state_dict(), other.state_dict(), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adagrad", "sgd"])
def test_compiled_steps_follow_the_learning_rate(optimizer: str) -> None:
    (module, watch, _), (other, _, _) = [
        train(SGVB(), partial(small_model, SHAPE), optimizer, steps, schedule=HALVED) for steps in ("compiled", "eager")
    ]
    assert watch.runner.programs == 1
    assert type(watch.runner.active.program).__name__ == "Compilation"
    torch.testing.assert_close(module.state_dict(), other.state_dict(), rtol=1e-3, atol=1e-4)


def test_steps_are_recorded_where_there_is_no_compiler(monkeypatch, caplog) -> None:
    def missing(*arguments: Any) -> None:
        raise RuntimeError("no compiler")

    caplog.set_level(logging.INFO, "aevb")
    monkeypatch.setattr(compiled, "compile_graph", lambda *arguments: missing)
    found = train(SGVB(), partial(small_model, SHAPE), "adagrad", "compiled")
    assert [line for line in caplog.messages if "step" in line] == [
        "training steps are recorded, not compiled: no compiler"
    ]
    assert type(found[1].runner.active.program).__name__ == "Recording"
    assert_same(found, train(SGVB(), partial(small_model, SHAPE), "adagrad", "eager"))


def differing_by(share: float) -> Callable[..., Any]:
    """A compiler whose programs change each tensor by this share too much."""

    def compile_graph(graph: Any, *others: Any) -> Callable[..., Any]:
        def run(x: Tensor, *state: Tensor) -> Any:
            before = [tensor.clone() for tensor in state]
            metrics = graph(x, *state)
            for tensor, value in zip(state, before, strict=True):
                if tensor.is_floating_point():
                    tensor += share * (tensor - value)
            return metrics

        return run

    return compile_graph


@pytest.mark.parametrize("optimizer", ["adagrad", "sgd", "plain_sgd"])
def test_steps_are_recorded_where_compiled_ones_differ(optimizer: str, monkeypatch, caplog) -> None:
    caplog.set_level(logging.INFO, "aevb")
    monkeypatch.setattr(compiled, "compile_graph", differing_by(0.01))
    found = train(SGVB(), partial(small_model, SHAPE), optimizer, "compiled")
    assert "training steps are recorded, not compiled: one differed from the eager step" in caplog.messages
    assert type(found[1].runner.active.program).__name__ == "Recording"
    assert_same(found, train(SGVB(), partial(small_model, SHAPE), optimizer, "eager"))


@pytest.mark.parametrize(("share", "program"), [(0.05, "Compilation"), (0.2, "Recording")])
def test_products_in_bf16_may_be_rounded_otherwise(share: float, program: str, monkeypatch) -> None:
    monkeypatch.setattr(compiled, "compile_graph", differing_by(share))
    found = train(SGVB(), partial(small_model, SHAPE), "adagrad", "compiled", {"precision": "bf16-mixed"})
    assert type(found[1].runner.active.program).__name__ == program

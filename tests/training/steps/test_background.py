"""Compilation beside training: steps are recorded meanwhile, and a run never waits for it."""

import logging
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from aevb.objectives import SGVB
from aevb.training.steps import background, compiled
from aevb.training.steps.background import Background

from ...small import small_model
from .fitting import SHAPE, assert_near, assert_same, train

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compiled at once elsewhere")

LONG = 60.0
"""Seconds of a compilation that outlasts its run."""


@pytest.fixture(autouse=True)
def compile_aside(compile_at_once: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "allowed", background.allowed)


class Wait(pl.Callback):
    """Blocks from `block` on begin when the compiler has ended; keeps its processes."""

    def __init__(self, block: int = 4) -> None:
        self.block, self.blocks = block, 0
        self.processes: list[Any] = []

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        runner, self.blocks = module.runners[0], self.blocks + 1
        if runner.background is not None:
            self.processes.append(runner.background.process)
            if self.blocks >= self.block:
                self.processes[-1].join()


def uncompiled(graph: Any, *others: Any) -> Any:
    if multiprocessing.parent_process() is not None:
        time.sleep(1.0)  # in the copy, so that it does not end within the block that starts it
    return graph


def fit(compile_graph: Callable[..., Any], monkeypatch: Any, *callbacks: pl.Callback, steps: str = "compiled") -> Any:
    monkeypatch.setattr(compiled, "compile_graph", compile_graph)
    return train(SGVB(), partial(small_model, SHAPE), "adagrad", steps, callbacks=list(callbacks))


def test_steps_are_recorded_while_they_are_compiled(monkeypatch, caplog) -> None:
    caplog.set_level(logging.INFO, "aevb")
    wait = Wait()
    found = fit(uncompiled, monkeypatch, wait)
    runner = found[1].runner
    assert type(runner.program).__name__ == "Compilation"
    assert type(runner.fallback.program).__name__ == "Recording"
    assert len(set(wait.processes)) == 1
    lines = [line for line in caplog.messages if line.startswith("training steps")]
    assert lines == ["training steps are recorded while they are compiled", "training steps are compiled"]
    assert_near(found, fit(uncompiled, monkeypatch, steps="eager"))


def test_the_copy_compiles_for_the_threads_of_training(monkeypatch, tmp_path) -> None:
    """Kernels for another number of threads are other kernels, and would be compiled again when steps switch."""

    def note(graph: Any, arguments: Any, threads: int) -> Any:
        with (tmp_path / "threads").open("a") as file:
            file.write(f"{threads}\n")
        return graph

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        fit(note, monkeypatch, Wait())
    finally:
        torch.set_num_threads(threads)
    assert (tmp_path / "threads").read_text().split() == ["2", "2"]


def refuse(*arguments: Any) -> None:
    raise RuntimeError("no compiler\nand more")


def crash(*arguments: Any) -> None:
    os._exit(3)


@pytest.mark.parametrize(
    ("compile_graph", "reason"), [(refuse, "no compiler"), (crash, "its compiler ended with exit code 3")]
)
def test_steps_stay_recorded_where_the_compiler_fails(compile_graph, reason, monkeypatch, caplog) -> None:
    caplog.set_level(logging.INFO, "aevb")
    found = fit(compile_graph, monkeypatch, Wait())
    assert [line for line in caplog.messages if line.startswith("training steps")] == [
        "training steps are recorded while they are compiled",
        f"training steps are recorded, not compiled: {reason}",
    ]
    assert_same(found, fit(compile_graph, monkeypatch, steps="eager"))


def sleep(*arguments: Any) -> None:
    time.sleep(LONG)


def test_a_run_that_ends_first_ends_the_compiler(monkeypatch) -> None:
    wait, start = Wait(block=1000), time.monotonic()
    found = fit(sleep, monkeypatch, wait)
    assert type(found[1].runner.fallback.program).__name__ == "Recording"
    assert wait.processes[-1].is_alive()
    found[1].runner = None
    assert not wait.processes[-1].is_alive()
    assert time.monotonic() - start < LONG
    assert_same(found, fit(sleep, monkeypatch, steps="eager"))


def test_a_changed_setting_begins_another_compilation(monkeypatch) -> None:
    class Change(pl.Callback):
        def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
            module.objective.beta = 1.0 + trainer.current_epoch

    wait = Wait(block=1000)
    fit(sleep, monkeypatch, wait, Change())
    first, second = dict.fromkeys(wait.processes)
    assert not first.is_alive()
    assert second is not first


def test_a_compilation_without_an_error() -> None:
    found = Background(lambda: None)
    found.process.join()
    assert found.ended
    assert found.error() is None


def test_deterministic_runs_compile_at_once(monkeypatch) -> None:
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    wait = Wait(block=1000)
    found = fit(uncompiled, monkeypatch, wait)
    assert type(found[1].runner.program).__name__ == "Compilation"
    assert not wait.processes


@pytest.mark.slow
def test_the_program_ends_at_once() -> None:
    script = (
        "import time; from aevb.training.steps.background import Background; "
        f"found = Background(lambda: time.sleep({LONG})); time.sleep(0.5); print(found.process.pid)"
    )
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert time.monotonic() - start < LONG
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)

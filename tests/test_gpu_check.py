"""benchmarks/gpu_check.py, which is for a GPU, as a dry run on the CPU."""

import importlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def gpu_check(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = importlib.import_module("gpu_check")
    monkeypatch.setattr(module, "STEPS", {"eager": "eager", "auto": "captured"})
    options = [
        "--device=cpu",
        "--only=noise,steps=,seeds=",
        "--minibatches=20",
        "--settled=10",
        "--images=300",
        "--members=2",
    ]
    monkeypatch.setattr("sys.argv", ["gpu_check.py", *options])
    loggers = [logging.getLogger(name) for name in ("aevb", "pytorch_lightning")]
    levels = [logger.level for logger in loggers]
    yield module
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def test_dry_run_passes(gpu_check: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_check.main() == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("PASS")]
    cases = [f"{name}, steps=auto" for name in gpu_check.OTHERS]
    names = [line[len("PASS") : 46].strip() for line in lines]
    assert names == ["noise of members", "steps=eager", "steps=auto", "seeds=2", *cases]


def test_a_failed_check_is_shown(gpu_check: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def fail(*arguments: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(gpu_check, "train", fail)
    assert gpu_check.main() == 1
    assert capsys.readouterr().out.count("FAIL") == 5

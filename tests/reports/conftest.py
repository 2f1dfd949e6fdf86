"""Run folders written by hand."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from aevb.runs.folder import RunFolder

TARGETS = {"mnist": "aevb.data.MNIST", "freyface": "aevb.data.FreyFace"}
OBJECTIVES = {
    "sgvb": "aevb.objectives.SGVB",
    "wake_sleep": "aevb.objectives.WakeSleep",
    "monte_carlo_em": "aevb.objectives.MonteCarloEM",
}


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Write a run folder below `runs`: its settings, and the columns of its metrics.csv as {samples: value}."""

    def make(
        name: str,
        curves: dict[str, dict[int, float]],
        data: str = "mnist",
        objective: str = "sgvb",
        latent_dim: int = 3,
        seed: int = 0,
        seeds: int | None = None,
        train_size: int | None = None,
        overrides: Sequence[str] = (),
        **status: Any,
    ) -> Path:
        folder = RunFolder(tmp_path / "runs" / name)
        config = {
            "data": {"_target_": TARGETS[data], "train_size": train_size},
            "objective": {"_target_": OBJECTIVES[objective]},
            "model": {"latent_dim": latent_dim},
            "seed": seed,
            "seeds": seeds,
        }
        given = [f"data={data}", f"objective={objective}", f"model.latent_dim={latent_dim}", f"seed={seed}"]
        folder.create(OmegaConf.create(config), [*given, *overrides, "logger=none"])
        folder.write_status(**{"state": "finished", "samples": max(max(curve) for curve in curves.values())} | status)
        with folder.metrics_file.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["samples", *curves])
            writer.writeheader()
            for metric, curve in curves.items():
                writer.writerows({"samples": samples, metric: value} for samples, value in curve.items())
        return folder.path

    return make


@pytest.fixture
def add_evaluation() -> Callable[..., None]:
    """Write an evaluation.json with one entry."""

    def add(folder: Path, **entry: Any) -> None:
        (folder / "evaluation.json").write_text(json.dumps({"entries": [entry]}))

    return add

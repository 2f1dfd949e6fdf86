"""Sweeps whose jobs run side by side, and sweeps that search."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aevb.runs.folder import RunFolder
from aevb.runs.lock import is_locked

ROOT = Path(__file__).parents[2]

TINY = ["max_samples=1300", "model.encoder.hidden=[16]", "logger=none", "callbacks.images=null"]

pytestmark = pytest.mark.timeout(600)


def test_joblib_runs_jobs_in_processes_of_their_own(command, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="the extra joblib is not installed")
    process = command("-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "data.train_size=1000,5000", *TINY)
    assert process.returncode == 1, process.stderr
    (folder,) = (tmp_path / "outputs" / "sweeps").iterdir()
    states = {path.name: RunFolder(path).status()["state"] for path in folder.iterdir() if path.is_dir()}
    assert states == {"data.train_size=1000": "finished", "data.train_size=5000": "failed"}
    assert "failed: data.train_size=5000: data.train_size must be" in process.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_jobs_end_with_the_sweep_that_started_them(tmp_path, number):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="the extra joblib is not installed")
    arguments = ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=1,2", "sweep.name=s", *TINY]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *arguments, "max_samples=1000000000"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    jobs = [tmp_path / "outputs" / "sweeps" / "s" / f"seed={seed}" for seed in (1, 2)]
    try:
        wait_until(lambda: process.poll() is not None or all(is_training(job) for job in jobs))
        process.send_signal(number)
        out, err = process.communicate(timeout=100)
        wait_until(lambda: not any(is_locked(job) for job in jobs))
    finally:
        process.kill()
    assert process.returncode == 128 + number
    assert all(f"interrupted: seed={seed}: its process was killed" in out for seed in (1, 2))
    assert "Traceback" not in err


def is_training(folder: Path) -> bool:
    status = folder / "status.json"
    return status.exists() and '"running"' in status.read_text()


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 200
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_search_is_continued_by_the_same_command(command, tmp_path):
    optuna = pytest.importorskip("optuna", reason="the extra optuna is not installed")
    arguments = ["sweep=learning_rate", "sweep.name=s", *TINY]
    folder = tmp_path / "outputs" / "sweeps" / "s"
    for trials in (2, 4):
        process = command(*arguments, f"hydra.sweeper.n_trials={trials}")
        assert process.returncode == 0, process.stderr
        assert process.stdout.count("finished after") == 2
        study = optuna.load_study(study_name="learning_rate", storage=f"sqlite:///{folder}/optuna.db")
        done = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
        assert len(done) == trials
    assert [trial.params["optimizer.lr"] for trial in done[:3]] == [0.01, 0.02, 0.1]
    for trial in done:
        run = RunFolder(folder / f"optimizer.lr={trial.params['optimizer.lr']}")
        assert run.status()["results"]["val/elbo"] == trial.value

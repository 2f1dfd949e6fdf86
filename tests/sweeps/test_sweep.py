"""Sweeps by Hydra's own sweeper: a folder for each job, the same command again, and jobs that fail."""

import csv
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from aevb.errors import ConfigError
from aevb.runs.find import find_runs
from aevb.runs.folder import RunFolder
from aevb.runs.lock import locked
from aevb.sweeps.table import table

from ..conftest import ROOT

TINY = ["model.encoder.hidden=[16]", "logger=none", "callbacks.images=null", "callbacks.progress=null"]


@pytest.fixture
def run_job(run_train):
    """Call `train` in this process, as Hydra does for a job of a sweep."""
    return partial(run_train, is_job=True)


def test_failing_jobs_do_not_end_the_sweep_and_the_same_command_continues_it(command, tmp_path):
    arguments = [
        "-m",
        "data.train_size=1000,5000",
        "optimizer=adam",
        "optimizer.lr=0.01,1e30",
        "max_samples=1300",
        *TINY,
    ]
    process = command(*arguments)
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    assert process.stderr.count("error: data.train_size must be") == 2
    (folder,) = (tmp_path / "outputs" / "sweeps").iterdir()
    assert folder.name.startswith("data.train_size+optimizer.lr,max_samples=1300,model.encoder.hidden=~16~,optimizer")
    states = {path.name: RunFolder(path).status()["state"] for path in folder.iterdir() if path.is_dir()}
    assert states == {
        "data.train_size=1000,optimizer.lr=0.01": "finished",
        "data.train_size=1000,optimizer.lr=1e+30": "failed",
        "data.train_size=5000,optimizer.lr=0.01": "failed",
        "data.train_size=5000,optimizer.lr=1e+30": "failed",
    }
    with (folder / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["run"] == "data.train_size=1000,optimizer.lr=0.01"
    assert float(rows[0]["test/elbo"]) == RunFolder(folder / rows[0]["run"]).status()["results"]["test/elbo"]
    reasons = {row["reason"] for row in rows[1:]}
    assert any("the loss became" in reason for reason in reasons)
    assert process.stdout.count("failed: data.train_size=") == 3

    ended = RunFolder(folder / rows[0]["run"]).status()["ended"]
    again = command(*arguments, "sweep.retry_failed=false")
    assert again.returncode == 1
    assert again.stdout.count("failed earlier; not retried") == 3
    assert "finished already: data.train_size=1000,optimizer.lr=0.01" in again.stdout
    assert RunFolder(folder / rows[0]["run"]).status()["ended"] == ended
    assert len([path for path in folder.iterdir() if path.is_dir()]) == 4


def test_finished_job_returns_its_result_and_is_not_trained_again(run_job):
    folder, metric = run_job("max_samples=1300", "metric=test/kl", *TINY)
    before = folder.status()
    assert run_job("max_samples=1300", "metric=test/kl", *TINY)[1] == metric == before["results"]["test/kl"]
    assert folder.status() == before


def test_job_with_more_samples_continues(run_job, run_train, tmp_path):
    folder, _ = run_job("max_samples=1300", *TINY)
    run_job("max_samples=2600", *TINY)
    assert folder.status()["samples"] == 2600
    assert folder.command()[0] == "max_samples=2600"
    whole, _ = run_train("max_samples=2600", *TINY, folder=tmp_path / "whole")
    assert folder.status()["results"] == whole.status()["results"]
    with pytest.raises(ConfigError, match=r"^max_samples: .* was made with 2600, which may grow, but not become 1300"):
        run_job("max_samples=1300", *TINY)
    with pytest.raises(
        ConfigError, match=r"^trainer\.max_epochs: .* with null, which may grow, but not become 3; start"
    ):
        run_job("max_samples=2600", "trainer.max_epochs=3", *TINY)


def test_job_of_other_settings_is_refused(run_job):
    folder, _ = run_job("max_samples=1300", *TINY)
    with pytest.raises(ConfigError, match=r"^seed: .* was made with 0, not 1; name another sweep by sweep.name=…$"):
        run_job("max_samples=1300", "seed=1", *TINY)
    assert folder.status()["state"] == "finished"


def test_interrupted_job_without_a_checkpoint_restarts(run_job):
    folder, _ = run_job("max_samples=1300", *TINY)
    results = folder.status()["results"]
    folder.last_checkpoint.unlink()
    folder.write_status(state="running", samples=600, results={})
    run_job("max_samples=1300", *TINY)
    assert folder.status()["state"] == "finished"
    assert folder.status()["results"] == results


def test_failed_job_is_not_retried_on_request(run_job):
    folder, _ = run_job("max_samples=1300", *TINY)
    folder.write_status(state="failed", error="out of memory")
    run_job("max_samples=1300", "sweep.retry_failed=false", *TINY)
    assert folder.status()["state"] == "failed"
    run_job("max_samples=1300", *TINY)
    assert folder.status()["state"] == "finished"
    assert folder.status()["error"] is None


def test_job_that_another_process_trains_is_skipped(run_job, run_train):
    folder, _ = run_job("max_samples=1300", *TINY)
    folder.write_status(state="running")
    with locked(folder.path):
        assert run_job("max_samples=1300", *TINY)[1] is None
        with pytest.raises(ConfigError, match=r"^resume: another process uses "):
            run_train(f"resume={folder.path}", folder=folder.path)
        with pytest.raises(ConfigError, match=r"^hydra\.run\.dir: another process uses "):
            run_train("max_samples=1300", *TINY, folder=folder.path)
    assert folder.status()["state"] == "running"


DAMAGE = {
    "status.json": "{",
    ".hydra/config.yaml": "model: [",
    ".hydra/overrides.yaml": "- a\n  b: [",
    "checkpoints/last.ckpt": "no checkpoint",
    "metrics.csv": "epoch,loss\n1,2\n",
}


@pytest.mark.parametrize("file", DAMAGE)
def test_job_that_cannot_be_continued_fails_alone(run_job, tmp_path, capsys, file):
    folder, _ = run_job("max_samples=1300", *TINY)
    if file != "status.json":
        folder.write_status(state="running")
    (folder.path / file).write_text(DAMAGE[file])
    _, metric = run_job("max_samples=1300", *TINY)
    if file == ".hydra/overrides.yaml":  # not needed to continue
        assert metric is not None
        return
    assert metric is None
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")
    (row,) = table(find_runs(tmp_path))
    assert row["state"] == ("unusable" if file == "status.json" else "failed")
    assert Path(file).name in row["reason"]


def test_resume_makes_no_sweep(run_job, tmp_path):
    with pytest.raises(ConfigError, match=r"^resume: the same command again continues a sweep"):
        run_job("resume=somewhere", folder=tmp_path / "run")


def test_job_of_a_sweep_can_be_resumed_by_its_folder(run_job, run_train, tmp_path):
    folder, _ = run_job("max_samples=1300", *TINY, folder=tmp_path / "seed=1,model@prior=laplace")
    run_train(f"resume='{folder.path}'", "max_samples=2600", folder=folder.path)
    assert folder.status()["samples"] == 2600


@pytest.mark.slow
def test_ctrl_c_ends_a_sweep_after_the_running_job_is_saved(tmp_path):
    arguments = ["-m", "seed=1,2", "max_samples=10000000", *TINY, "sweep.name=a sweep"]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *arguments],
        cwd=tmp_path,
        env=os.environ | {"COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    sweeps = tmp_path / "outputs" / "sweeps"
    deadline = time.monotonic() + 200
    while not (found := list(sweeps.glob("*/seed=1/checkpoints/last.ckpt"))):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no checkpoint was written"
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 130, err
    first = RunFolder(found[0].parents[1])
    status = first.status()
    assert status["state"] == "interrupted"
    assert status["samples"] == torch.load(first.last_checkpoint, weights_only=True)["samples"] > 0
    assert not (first.path.parent / "seed=2").exists()
    assert "interrupted" in (first.path.parent / "table.csv").read_text()
    assert "a sweep" not in first.path.parent.name  # but a name for it that is good for any file system
    assert "seed=1" in out

"""What a sweep does around its launcher: announcing, and jobs that cannot run."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import RunMode
from omegaconf import OmegaConf

from aevb.runs.folder import RunFolder
from aevb.runs.lock import is_locked
from aevb.sweeps.callback import Sweep
from aevb.sweeps.launch import Jobs

from ..conftest import ROOT


class Launcher:
    """Records what it is asked to run; jobs of seed 13 raise."""

    def __init__(self):
        self.launched = []

    def launch(self, job_overrides, initial_job_idx):
        self.launched += [list(overrides) for overrides in job_overrides]
        return [
            JobReturn(overrides, status=JobStatus.FAILED, _return_value=ValueError("unlucky\nand more"))
            if "seed=13" in overrides
            else JobReturn(overrides, status=JobStatus.COMPLETED, _return_value=-20.0)
            for overrides in job_overrides
        ]


@pytest.fixture
def make_jobs(tmp_path, monkeypatch):
    """The jobs of a command, the overrides of each, and the callback of the sweep."""
    monkeypatch.chdir(tmp_path)

    def make(*command, jobs):
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            hydra = GlobalHydra.instance().hydra
            config = hydra.compose_config("train", list(command), RunMode.MULTIRUN)
        callback = Sweep()
        context = SimpleNamespace(config_loader=hydra.config_loader, callbacks=SimpleNamespace(callbacks=[callback]))
        return Jobs(Launcher(), context, config), [job.split() for job in jobs], callback

    return make


def test_failed_jobs_and_unusable_folders_do_not_end_the_sweep(make_jobs, capsys):
    jobs, overrides, callback = make_jobs("seed=1,13,2,3", jobs=["seed=1", "seed=13", "seed=2", "seed=3"])
    jobs.folder.mkdir(parents=True)
    (jobs.folder / "seed=2").touch()
    (jobs.folder / "seed=3").symlink_to("nowhere")
    results = jobs.launch(overrides, 0)
    assert [result.return_value for result in results] == [-20.0, None, None, None]
    assert jobs.launcher.launched == [["seed=1"], ["seed=13"]]
    assert set(callback.failures) == {"seed=13", "seed=2", "seed=3"}
    assert callback.failures["seed=13"] == "unlucky"
    assert capsys.readouterr().err.count("is not a folder; remove it, or name another sweep by sweep.name=…") == 2


def make_run(path, state):
    RunFolder(path).create(OmegaConf.create({"metric": "val/elbo"}), [])
    RunFolder(path).write_status(state=state)


def test_a_killed_process_of_joblib_is_one_line(make_jobs, capsys, monkeypatch):
    process_executor = pytest.importorskip("joblib.externals.loky.process_executor")

    def killed(*arguments):
        raise process_executor.TerminatedWorkerError("several\nlines")

    jobs, overrides, _ = make_jobs("seed=1,2", jobs=["seed=1", "seed=2"])
    monkeypatch.setattr(jobs.launcher, "launch", killed)
    with pytest.raises(SystemExit) as stop:
        jobs.launch(overrides, 0)
    assert stop.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: sweep: a process of joblib was killed, perhaps for lack of memory")


def test_sweep_announces_its_jobs(make_jobs, capsys):
    jobs, overrides, _ = make_jobs("seed=range(200)", jobs=[f"seed={seed}" for seed in range(200)])
    for seed, state in enumerate(["finished", "pruned", "failed", "interrupted"]):
        make_run(jobs.folder / f"seed={seed}", state)
    (jobs.folder / "seed=4").mkdir()
    (jobs.folder / "seed=4" / "status.json").write_text("[]")
    jobs.announce(overrides)
    assert capsys.readouterr().out == "sweep   200 job(s), 2 finished already, in outputs/sweeps/seed\n"


@pytest.mark.parametrize("name", ["null", "mine"])
def test_job_of_an_earlier_sweep_of_one_value_is_taken_over(make_jobs, name):
    chosen = f"sweep.name={name}"
    first, _, _ = make_jobs(chosen, "seed=1", "max_samples=9", jobs=[])
    earlier = first.job_folder(["seed=1", "max_samples=9", chosen])
    make_run(earlier, "finished")
    jobs, overrides, _ = make_jobs(chosen, "seed=1,2", "max_samples=9", jobs=[f"seed=1 max_samples=9 {chosen}"])
    jobs.launch(overrides, 0)
    assert RunFolder(jobs.folder / "seed=1").status()["state"] == "finished"
    if name == "null":
        assert earlier.resolve() == (jobs.folder / "seed=1").resolve()
    else:
        assert {path.name for path in Path("outputs/sweeps/mine").iterdir()} == {"seed=1"}


def test_job_of_other_settings_is_not_taken_over(make_jobs):
    first, _, _ = make_jobs("seed=1", "max_samples=8", jobs=[])
    make_run(first.job_folder(["seed=1", "max_samples=8"]), "finished")
    jobs, overrides, _ = make_jobs("seed=1,2", "max_samples=9", jobs=["seed=1 max_samples=9"])
    jobs.launch(overrides, 0)
    assert not (jobs.folder / "seed=1").exists()


RUN = ["max_samples=1300", "model.encoder.hidden=[16]", "logger=none", "callbacks.images=null"]


def test_joblib_runs_jobs_in_processes_of_their_own(command, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="the extra joblib is not installed")
    process = command("-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "data.train_size=1000,5000", *RUN)
    assert process.returncode == 1, process.stderr
    (folder,) = (tmp_path / "outputs" / "sweeps").iterdir()
    states = {path.name: RunFolder(path).status()["state"] for path in folder.iterdir() if path.is_dir()}
    assert states == {"data.train_size=1000": "finished", "data.train_size=5000": "failed"}
    assert "failed: data.train_size=5000: data.train_size must be" in process.stdout


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_jobs_end_with_the_sweep_that_started_them(tmp_path, number):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="the extra joblib is not installed")
    arguments = ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=1,2", "sweep.name=s", *RUN]
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

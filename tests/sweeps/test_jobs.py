"""What the launchers for clusters share, and their settings; make test-cluster runs them on real schedulers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.utils import JobReturn, JobStatus
from hydra.utils import instantiate
from omegaconf import OmegaConf

from aevb.sweeps.jobs import Job, report, require, run_jobs

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture
def job(tmp_path: Path) -> Job:
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path), "subdir": "seed=1"}}})
    (tmp_path / "seed=1").mkdir()
    job = Job(3, ["seed=1"], config, None, None)
    job.config = config
    return job


def test_launchers_import_nothing_heavy():
    program = (
        "import sys, hydra_plugins.aevb_launchers, hydra_plugins.aevb_sweepers\n"
        "print(sorted({'torch', 'ray', 'submitit', 'wandb'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=100)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("option", "launcher"),
    [("submitit_local", "SubmititLauncher"), ("submitit_slurm", "SubmititLauncher"), ("ray", "RayLauncher")],
)
def test_launcher_takes_its_settings(option, launcher, tmp_path):
    overrides = [f"hydra/launcher={option}", f"hydra.sweep.dir={tmp_path}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides, return_hydra_config=True)
    built = instantiate(config.hydra.launcher)
    assert type(built).__name__ == launcher  # Hydra imports plugins once more, so the class itself is another one
    if option == "submitit_slurm":
        assert built.folder == f"{tmp_path}/.submitit"
        assert built.parameters["timeout_min"] == 240
        assert built.parameters["slurm_additional_parameters"] == {"requeue": True}


def test_missing_extra_is_named_in_one_line(capsys):
    with pytest.raises(SystemExit) as stopped:
        require("a_module_that_nobody_has", extra="slurm")
    assert stopped.value.code == 2
    expected = "error: hydra/launcher needs a_module_that_nobody_has; install it with: pip install 'aevb[slurm]'\n"
    assert capsys.readouterr().err == expected


def test_failed_training_is_reported(job, capsys):
    status = {"state": "failed", "error": "the loss became nan"}
    (job.run_folder / "status.json").write_text(json.dumps(status))
    report(job, JobReturn(overrides=["seed=1"], status=JobStatus.COMPLETED))
    assert capsys.readouterr().out == "#3 seed=1: failed: the loss became nan\n"


class Cluster:
    """Runs two jobs at once, and ends one of them at each look; those in `lost` without a result."""

    at_once = 2

    def __init__(self, lost=(), interrupt_after=100):
        self.lost, self.interrupt_after = lost, interrupt_after
        self.submitted, self.cancelled, self.closed = [], [], False

    def submit(self, jobs):
        self.submitted.append([job.number for job in jobs])
        return [job.number for job in jobs]

    def wait(self, running):
        assert len(running) <= 2
        if self.interrupt_after == 0:
            raise KeyboardInterrupt
        self.interrupt_after -= 1
        index, number = max(running.items())
        if number in self.lost:
            return {index: "ended without a result (CANCELLED)"}
        return {index: JobReturn(status=JobStatus.COMPLETED, _return_value=float(number))}

    def cancel(self, handles):
        self.cancelled = handles

    def close(self):
        self.closed = True


@pytest.fixture
def jobs(job, tmp_path):
    found = [Job(number, [f"seed={number}"], job.config, None, None) for number in range(4)]
    for each in found:
        each.config = job.config
    return found


def test_jobs_are_submitted_as_there_is_room_and_their_results_are_in_order(jobs, capsys):
    cluster = Cluster(lost=[2])
    results = run_jobs(jobs, cluster)
    assert cluster.submitted == [[0, 1], [2], [3]]
    assert [result.status for result in results] == [JobStatus.COMPLETED] * 2 + [JobStatus.FAILED, JobStatus.COMPLETED]
    assert [result._return_value for result in results[:2]] == [0.0, 1.0]
    assert str(results[2]._return_value) == "ended without a result (CANCELLED)"
    assert capsys.readouterr().err == "#2 seed=2: ended without a result (CANCELLED)\n"
    assert cluster.closed


def test_ctrl_c_cancels_running_jobs(jobs):
    cluster = Cluster(interrupt_after=1)
    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs, cluster)
    assert cluster.cancelled == [0, 2]
    assert cluster.closed

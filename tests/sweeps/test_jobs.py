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

from aevb.sweeps.jobs import Job, report, require

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture
def job(tmp_path: Path) -> Job:
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path), "subdir": "seed=1"}}})
    (tmp_path / "seed=1").mkdir()
    return Job(3, ["seed=1"], config, None, None)


def test_hydra_reads_the_launchers_without_what_is_heavy():
    program = (
        "import sys, hydra_plugins.aevb_ray_launcher, hydra_plugins.aevb_submitit_launcher\n"
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


def test_failed_training_is_said_but_does_not_end_the_sweep(job, capsys):
    status = {"state": "failed", "error": "the loss became nan"}
    (job.run_folder / "status.json").write_text(json.dumps(status))
    result = report(job, JobReturn(overrides=["seed=1"], status=JobStatus.COMPLETED))
    assert result.return_value is None
    assert capsys.readouterr().out == "#3 seed=1: failed: the loss became nan\n"


def test_lost_job_is_said_and_ends_the_sweep_with_exit_code_1(job, capsys):
    result = report(job, job.failed("ended without a result (CANCELLED)"))
    assert capsys.readouterr().err == "#3 seed=1: ended without a result (CANCELLED)\n"
    with pytest.raises(SystemExit) as stopped:
        _ = result.return_value
    assert stopped.value.code == 1

"""Sweeps on a real SLURM."""

import os
import subprocess

import pytest

from .conftest import TINY

pytestmark = pytest.mark.timeout(600)
SLURM = ["hydra/launcher=submitit_slurm", "hydra.launcher.mem_gb=1", "hydra.launcher.cpus_per_task=1"]


def call(slurm, *command):
    return subprocess.run(command, env=os.environ | slurm, check=True, capture_output=True, text=True).stdout


def test_sweep_runs_on_slurm_and_a_bad_job_does_not_end_it(slurm, sweeps):
    sweep = sweeps("model.latent_dim=2,0,3", *TINY, *SLURM, **slurm)
    assert sweep.end() == 1, sweep.output()
    states = {what: sweep.run(f"model.latent_dim={what}").status()["state"] for what in (2, 0, 3)}
    assert states == {2: "finished", 0: "failed", 3: "finished"}, sweep.output()
    assert "model.latent_dim must be a whole number of at least 1, got 0" in sweep.log.read_text()
    assert len(sweep.job_ids()) == 3
    known = call(slurm, "squeue", "--noheader", "--array", "--states=all", "--format=%i").split()
    assert set(sweep.job_ids()) <= set(known)

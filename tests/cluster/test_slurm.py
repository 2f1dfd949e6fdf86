"""Sweeps on a real SLURM: they run, and jobs that are ended early continue where they were."""

import os
import re
import subprocess

import pytest

from .conftest import ENDLESS, LONG, TINY, assert_same_weights, wait_until

pytestmark = pytest.mark.timeout(1200)
SLURM = ["hydra/launcher=submitit_slurm", "hydra.launcher.mem_gb=1", "hydra.launcher.cpus_per_task=1"]


def call(slurm, *command):
    return subprocess.run(command, env=os.environ | slurm, check=True, capture_output=True, text=True).stdout


def interruptions(sweep, what: str) -> list[int]:
    """At how many samples a job was interrupted, and had saved itself."""
    log = sweep.run(what).path / "train.log"
    said = log.read_text() if log.exists() else ""
    return [int(number.replace(",", "")) for number in re.findall(r"interrupted by SIGTERM at ([\d,]+) samples", said)]


def test_sweep_runs_on_slurm_and_a_bad_job_does_not_end_it(slurm, sweeps):
    sweep = sweeps("model.latent_dim=2,0,3", *TINY, *SLURM, **slurm)
    assert sweep.end() == 1, sweep.output()
    states = {what: sweep.run(f"model.latent_dim={what}").status()["state"] for what in (2, 0, 3)}
    assert states == {2: "finished", 0: "failed", 3: "finished"}, sweep.output()
    assert "model.latent_dim must be a whole number of at least 1, got 0" in sweep.log.read_text()
    known = call(slurm, "squeue", "--noheader", "--array", "--states=all", "--format=%i").split()
    assert len(sweep.job_ids()) == 3
    assert set(sweep.job_ids()) <= set(known)


def test_terminated_and_requeued_jobs_continue_where_they_were(slurm, sweeps):
    jobs = ["every_seconds=1", "every_seconds=2", "every_seconds=3"]  # which makes no difference to what is learned
    sweep = sweeps("callbacks.checkpoint.every_seconds=1,2,3", *LONG, *SLURM, **slurm)
    wait_until(lambda: all(sweep.has_checkpoint(job) for job in jobs[:2]), sweep)
    terminated, requeued, _ = sweep.job_ids()
    call(slurm, "scancel", "--signal=TERM", terminated)
    call(slurm, "scontrol", "requeue", requeued)
    assert sweep.end() == 0, sweep.output()
    assert [len(interruptions(sweep, job)) for job in jobs] == [1, 1, 0]
    for job in jobs[:2]:
        (samples,) = interruptions(sweep, job)
        assert 0 < samples < 600_000
        assert re.search(rf"resumed +at {samples:,} samples", sweep.output())
    assert_same_weights([sweep.run(job) for job in jobs])


def test_job_that_is_out_of_time_continues_and_a_cancelled_one_ends(slurm, sweeps):
    sweep = sweeps(
        "seed=1,2", *ENDLESS, *SLURM, "hydra.launcher.timeout_min=2", "hydra.launcher.slurm_signal_delay_s=5", **slurm
    )
    wait_until(lambda: sweep.has_checkpoint("seed=2"), sweep)
    call(slurm, "scancel", sweep.job_ids()[1])
    wait_until(lambda: "ended without a result (CANCELLED)" in sweep.log.read_text(), sweep)
    assert interruptions(sweep, "seed=2")
    wait_until(lambda: interruptions(sweep, "seed=1"), sweep)
    (samples,) = interruptions(sweep, "seed=1")
    wait_until(lambda: sweep.run("seed=1").status()["samples"] > samples, sweep)
    assert re.search(rf"resumed +at {samples:,} samples", sweep.output())
    call(slurm, "scancel", *sweep.job_ids())
    assert sweep.end() == 1, sweep.output()
    assert not sweep.is_trained_by("seed=1")


def test_srun_starts_the_processes_of_a_job_on_two_nodes(slurm, sweeps):
    sweep = sweeps(
        "seed=1", *TINY, *SLURM, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.num_nodes=2",
        "hydra.launcher.nodes=2", "hydra.launcher.tasks_per_node=2",
        **slurm, MASTER_ADDR="127.0.0.1",  # the nodes' names are known to nobody but SLURM
    )  # fmt: skip
    assert sweep.end() == 0, sweep.output()
    assert sweep.run("seed=1").status()["state"] == "finished"
    assert "cpu, 4 processes" in sweep.output()
    assert [sweep.output().count(f"node={node}(2)") for node in (0, 1)] == [2, 2]
    assert len(list(sweep.folder.glob("*/status.json"))) == 1

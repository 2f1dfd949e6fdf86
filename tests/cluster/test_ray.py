"""Sweeps on a real Ray: they run, and a job whose process is killed continues where it was."""

import os
import signal

import pytest

from .conftest import LONG, TINY, assert_same_weights, wait_until

pytest.importorskip("ray", reason="Ray is not installed: make test-cluster installs it")
pytestmark = pytest.mark.timeout(1200)
RAY = ["hydra/launcher=ray", "hydra.launcher.init.num_cpus=2"]


def test_job_whose_process_is_killed_continues_where_it_was(sweeps):
    jobs = ["every_seconds=1", "every_seconds=2"]  # which makes no difference to what is learned
    sweep = sweeps("callbacks.checkpoint.every_seconds=1,2", *LONG, *RAY)
    wait_until(lambda: sweep.has_checkpoint(jobs[0]) and sweep.is_trained_by(jobs[0]), sweep)
    killed = sweep.is_trained_by(jobs[0])
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: sweep.is_trained_by(jobs[0]) not in (0, killed), sweep)
    assert sweep.end() == 0, sweep.output()
    assert [sweep.run(job).status()["state"] for job in jobs] == ["finished", "finished"]
    assert_same_weights([sweep.run(job) for job in jobs])


def test_bad_job_does_not_end_the_sweep(sweeps):
    sweep = sweeps("model.latent_dim=2,0", *TINY, *RAY)
    assert sweep.end() == 1, sweep.output()
    states = {what: sweep.run(f"model.latent_dim={what}").status()["state"] for what in (2, 0)}
    assert states == {2: "finished", 0: "failed"}
    assert "model.latent_dim must be a whole number of at least 1, got 0" in sweep.log.read_text()

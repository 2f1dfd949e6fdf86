"""Sweeps on a real Ray: they run, and a job whose process is killed continues where it was."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import LONG, TINY, assert_same_weights, wait_until

pytest.importorskip("ray", reason="Ray is not installed: make test-cluster installs it")
pytestmark = pytest.mark.timeout(1200)
RAY = ["hydra/launcher=ray", "hydra.launcher.init.num_cpus=2"]


def test_killed_job_continues_from_its_checkpoint(sweeps):
    jobs = ["every_seconds=1", "every_seconds=2"]  # which makes no difference to what is learned
    sweep = sweeps("callbacks.checkpoint.every_seconds=1,2", *LONG, *RAY)
    wait_until(lambda: sweep.has_checkpoint(jobs[0]) and sweep.is_trained_by(jobs[0]), sweep)
    killed = sweep.is_trained_by(jobs[0])
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: sweep.is_trained_by(jobs[0]) not in (0, killed), sweep)
    assert sweep.end() == 0, sweep.output()
    assert [sweep.run(job).status()["state"] for job in jobs] == ["finished", "finished"]
    assert_same_weights([sweep.run(job) for job in jobs])


def test_failed_job_does_not_end_the_sweep(sweeps):
    sweep = sweeps("model.latent_dim=2,0", *TINY, *RAY)
    assert sweep.end() == 1, sweep.output()
    states = {what: sweep.run(f"model.latent_dim={what}").status()["state"] for what in (2, 0)}
    assert states == {2: "finished", 0: "failed"}
    assert "model.latent_dim must be a whole number of at least 1, got 0" in sweep.log.read_text()


TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef0123456789abcdef"}


@pytest.fixture
def client_port(tmp_path):
    """Where a cluster of its own takes jobs of those who do not belong to it."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    port, client = (s.getsockname()[1] for s in sockets)
    for s in sockets:
        s.close()
    command = [
        str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--num-cpus=2",
        "--node-ip-address=127.0.0.1", f"--port={port}", f"--ray-client-server-port={client}",
        "--include-dashboard=false", "--disable-usage-stats",
    ]  # fmt: skip
    log = tmp_path / "cluster.log"
    with log.open("wb") as file:
        cluster = subprocess.Popen(command, env=os.environ | TOKEN, stdout=file, stderr=file)

    def is_ready() -> bool:
        assert cluster.poll() is None, log.read_text()
        with socket.socket() as probe:
            return "Ray runtime started" in log.read_text() and probe.connect_ex(("127.0.0.1", client)) == 0

    try:
        wait_until(is_ready)
        yield client
    finally:
        cluster.terminate()
        cluster.wait()


def test_sweep_runs_on_a_cluster_by_its_address(sweeps, client_port):
    address = f"hydra.launcher.init.address=ray://127.0.0.1:{client_port}"
    sweep = sweeps("seed=1,2", *TINY, "hydra/launcher=ray", address, **TOKEN)
    assert sweep.end() == 0, sweep.output()
    assert [sweep.run(f"seed={seed}").status()["state"] for seed in (1, 2)] == ["finished", "finished"]

"""Runs of several processes: the same command line or sweep, one run folder, one end."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from lightning_fabric.plugins.environments.lightning import find_free_network_port

import aevb
from aevb.config import instantiate
from aevb.data import Array
from aevb.distributed import processes
from aevb.distributed.processes import first_failure, read_report, report_error, train_together
from aevb.errors import ConfigError, Interrupted, NonFiniteLossError, Pruned, Stopped, WorkerFailedError
from aevb.objectives import elbo
from aevb.runs.folder import RunFolder
from aevb.runs.load import weights_of_members
from aevb.training.noise import seed_noise

from ..compare import assert_same_end, weights
from ..conftest import ROOT

TWO = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
SMALL = ["model.encoder.hidden=[16]", "logger=none", "callbacks.images=null", "callbacks.progress=null"]


pytestmark = pytest.mark.timeout(900)  # each starts several processes, which takes long on a machine with other work


def wait_for(condition, patience=400):
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


@pytest.fixture
def started(monkeypatch):
    """The processes that `train` starts, as they are started."""
    found = []

    class Recorded(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            found.append(self)

    monkeypatch.setattr(processes.subprocess, "Popen", Recorded)
    return found


@pytest.fixture
def images(tmp_path):
    """A file of 510 images, of which the test set has an odd number."""
    path = tmp_path / "images.npy"
    np.save(path, np.random.default_rng(0).random((510, 4, 4), dtype=np.float32))
    return path


@pytest.mark.slow
def test_killed_sweep_continues_by_the_same_command(run_train, tmp_path, images):
    settings = [f"data.path={images}", "data.eval_batch_size=7", "max_samples=10000", *TWO, *SMALL]
    arguments = ["-m", "seed=1,2", "data=array", *settings, "callbacks.checkpoint.every_samples=1000", "sweep.name=s"]
    jobs = {seed: RunFolder(tmp_path / "outputs" / "sweeps" / "s" / f"seed={seed}") for seed in (1, 2)}
    command = [sys.executable, str(ROOT / "train.py"), *arguments]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: jobs[1].last_checkpoint.exists() or process.poll() is not None)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    assert jobs[1].status()["state"] == "running"
    assert not jobs[2].path.exists()

    resumed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=400, check=False)
    assert resumed.returncode == 0, resumed.stderr
    assert [job.status()["state"] for job in jobs.values()] == ["finished"] * 2
    assert resumed.stdout.count("2 processes") == 2  # each job once, and the first process's words alone
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.glob("outputs/**/status.json")}
    assert found == {f"outputs/sweeps/s/seed={seed}/status.json" for seed in (1, 2)}
    assert {path.name for path in tmp_path.iterdir()} == {"images.npy", "outputs"}
    assert not (jobs[1].path / ".lock").exists()

    whole, metric = run_train("seed=1", "data=array", *settings, folder=tmp_path / "whole")
    assert whole.status()["results"] == jobs[1].status()["results"]
    assert metric == whole.status()["results"]["val/elbo"]
    assert_same_end(whole, jobs[1])
    assert (whole.path / "rank_1.log").exists()
    assert metrics_of_both(whole) == pytest.approx(whole.status()["results"]["test/elbo"], rel=1e-5)


def metrics_of_both(folder: RunFolder) -> float:
    """The test ELBO that two processes find, each datapoint counted once."""
    vae, config = aevb.load_run(folder.path), folder.config()
    test = instantiate(config.data).splits.test.x
    assert len(test) % 2 == 1
    total = 0.0
    for rank, part in enumerate(torch.tensor_split(test, [len(test) // 2])):
        seed_noise(config.seed, rank, "test")
        with torch.no_grad():
            for x in part.split(7):
                total += float(elbo(vae.p, vae.q, x).elbo.sum())
    return total / len(test)


@pytest.mark.slow
def test_processes_share_few_labels(run_train, tmp_path):
    """An exact resume, and the accuracy of the whole test set."""
    labels = ["model=semi_supervised", "objective=semi_supervised", "data.num_labels=20", "data.labels_per_batch=4"]
    settings = [*labels, "data.train_size=601", "model.classifier.backbone.hidden=[16]", "optimizer=adam", *TWO, *SMALL]
    whole, _ = run_train(*settings, "max_samples=2400", folder=tmp_path / "whole")
    part, _ = run_train(*settings, "max_samples=1100", folder=tmp_path / "part")
    run_train(f"resume={part.path}", "max_samples=2400", folder=part.path)
    assert all(torch.equal(value, weights(part)[name]) for name, value in weights(whole).items())
    x, y, _ = instantiate(whole.config().data).splits.test
    found = aevb.load_run(whole.path).q.classifier(x.float() / x.max()).logits.argmax(-1)
    expected = whole.status()["results"]["test/accuracy"]
    assert float((found == y).float().mean()) == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_processes_share_the_minibatches_of_each_member(run_train, tmp_path):
    """Members are the runs of their seeds by two processes, to the bit, also after a resume."""
    settings = ["data.train_size=601", *TWO, *SMALL]
    whole, _ = run_train(*settings, "seeds=2", "max_samples=2400", folder=tmp_path / "whole")
    assert "in turn: several processes communicate within a step" in (whole.path / "train.log").read_text()
    part, _ = run_train(*settings, "seeds=2", "max_samples=1100", folder=tmp_path / "part")
    run_train(f"resume={part.path}", "max_samples=2400", folder=part.path)
    found = weights_of_members(weights(whole))
    resumed = weights_of_members(weights(part))
    alone, _ = run_train(*settings, "seed=1", "max_samples=2400", folder=tmp_path / "alone")
    expected = weights_of_members(weights(alone))[0]
    for name, value in expected.items():
        assert torch.equal(found[1][name], value), name
        assert all(torch.equal(of_part[name], of_whole[name]) for of_part, of_whole in zip(resumed, found, strict=True))
    assert not all(torch.equal(found[0][name], value) for name, value in expected.items())


@pytest.mark.slow
def test_killed_process_takes_the_run_down(run_train, tmp_path, started):
    folder = RunFolder(tmp_path / "run")

    def kill():
        try:
            wait_for(folder.last_checkpoint.exists)
        finally:
            started[1].kill()

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(Stopped, match=r"^error: worker 1 was killed by SIGKILL; see .*rank_1.log") as stopped:
        run_train("max_samples=10000000", *TWO, *SMALL)
    thread.join()
    assert stopped.value.exit_code == 1
    assert folder.status()["state"] == "failed"
    assert folder.status()["error"].startswith("worker 1 was killed by SIGKILL")
    assert all(process.poll() is not None for process in started)


@pytest.mark.slow
def test_interrupted_processes_save_and_stop_together(run_train, tmp_path, started):
    folder = RunFolder(tmp_path / "run")

    def interrupt():
        try:
            wait_for(folder.last_checkpoint.exists)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(Stopped, match=r"^interrupted by SIGTERM at [\d,]+ samples; continue with") as stopped:
        run_train("max_samples=10000000", *TWO, *SMALL)
    thread.join()
    assert stopped.value.exit_code == 128 + signal.SIGTERM
    assert folder.status()["state"] == "interrupted"
    assert folder.status()["samples"] == folder.load_checkpoint("last")[1]["samples"]
    assert [process.returncode for process in started] == [1, 1]


def torchrun(folder, *arguments):
    """Start torchrun with the arguments of torchrun and of `train.py`."""
    command = [sys.executable, "-m", "torch.distributed.run", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("machines", [1, 2])
def test_processes_of_torchrun_share_one_folder(machines, tmp_path):
    (tmp_path / "sub").mkdir()
    start = [f"--nproc-per-node={2 // machines}"]
    if machines == 1:
        start += ["--standalone"]
    else:
        start += [
            "--nnodes=2",
            "--rdzv-backend=c10d",
            f"--rdzv-endpoint=127.0.0.1:{find_free_network_port()}",
            "--rdzv-id=test",
        ]
    shape = [f"trainer.devices={2 // machines}", f"trainer.num_nodes={machines}"]
    run = [str(ROOT / "train.py"), *TWO, *shape, *SMALL, "max_samples=1300"]
    agents = [torchrun(tmp_path / "sub", *start, *run) for _ in range(machines)]
    said = [agent.communicate(timeout=400)[0] for agent in agents]
    assert [agent.returncode for agent in agents] == [0] * machines, said
    (status,) = (tmp_path / "sub").glob("outputs/*/*/status.json")
    folder = RunFolder(status.parent)
    assert folder.status()["state"] == "finished"
    assert folder.status()["samples"] == 1300
    assert "".join(said).count("finished after") == 1
    assert "cpu, 2 processes" in "".join(said)
    assert [path.name for path in (tmp_path / "sub" / "outputs").iterdir()] == [status.parents[1].name]
    shutil.rmtree(tmp_path / "sub")


@pytest.fixture
def report(monkeypatch, tmp_path):
    """What a worker reports that raises an error."""

    def made(error, at):
        monkeypatch.setenv(processes.ERROR_FILE, str(tmp_path / "error"))
        report_error(error)
        return at, read_report(tmp_path / "error")[1]

    return made


def test_first_worker_to_fail_determines_the_error(report, tmp_path):
    lost = report(RuntimeError("Connection closed by peer\nand more"), 2.0)
    error = first_failure([1, 1], [lost, report(NonFiniteLossError("the loss became nan"), 1.0)], tmp_path)
    assert isinstance(error, NonFiniteLossError)
    assert str(error) == "the loss became nan"
    error = first_failure(
        [1, 1], [report(ConfigError("seed: no"), 1.0), report(ConfigError("seed: no"), 2.0)], tmp_path
    )
    assert isinstance(error, ConfigError)
    error = first_failure([1, 1], [lost, report(OSError("disk full"), 1.0)], tmp_path)
    assert isinstance(error, WorkerFailedError)
    assert str(error) == f"worker 1 failed: disk full; see {tmp_path / 'rank_1.log'}"
    interrupted = report(Interrupted(signal.SIGTERM, 1300), 1.0)[1]
    assert str(interrupted) == "interrupted by SIGTERM at 1,300 samples"
    assert (report(Pruned(1300, -20.5), 1.0)[1].best_elbo, read_report(tmp_path / "nothing")) == (-20.5, None)


def test_worker_that_crashes_is_the_cause(report, tmp_path):
    lost = report(RuntimeError("Connection closed by peer"), 1.0)
    error = first_failure([1, -11], [lost, None], tmp_path)
    assert str(error) == f"worker 1 was killed by SIGSEGV; see {tmp_path / 'rank_1.log'}"
    assert str(first_failure([3, None], [None, None], tmp_path)) == "worker 0 ended with exit code 3"


@pytest.mark.slow
def test_signal_before_training_is_an_interruption(tmp_path, monkeypatch):
    program = "import os, signal, time; os.kill(os.getppid(), signal.SIGTERM); time.sleep(60)"
    start = subprocess.Popen
    monkeypatch.setattr(processes.subprocess, "Popen", lambda command, **o: start([sys.executable, "-c", program], **o))
    with pytest.raises(Interrupted, match=r"^interrupted by SIGTERM at 500 samples$"):
        train_together(tmp_path, 1, 500)


def test_processes_without_a_datapoint_of_validation_are_refused(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((100, 4, 4), dtype=np.float32))
    data = Array(str(tmp_path / "x.npy"), val_fraction=0.01, batch_size=10)
    data.setup()
    monkeypatch.setattr(data, "_rank", lambda: (0, 2))
    assert len(data.test_dataloader()) == 1
    with pytest.raises(ConfigError, match=r"^trainer.devices: 2 processes cannot share 1 datapoint"):
        data.val_dataloader()

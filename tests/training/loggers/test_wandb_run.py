"""Runs of wandb, offline ones read back and online ones as a server was told them."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import wandb

import aevb.apps.train
from aevb import plots
from aevb.errors import Interrupted, Stopped
from aevb.runs.folder import RunFolder
from aevb.training.loggers import WandbLogger
from aevb.training.loggers.guarded import log_image
from aevb.training.loggers.wandb_run import has_credentials

from ...wandb_file import config_of, exit_code, read_offline_run, run_of, values
from ...wandb_server import serve


def test_offline_run_holds_everything(tmp_path):
    logger = WandbLogger(tmp_path, project="p", group="g", tags=["a", "b"], job_type="train", id="abc12345")
    logger.log_hyperparams({"model": {"latent_dim": 2}, "seed": 3})
    for samples, elbo in ((100, -5.0), (200, -3.0), (300, -4.0)):
        logger.log_metrics({"train/elbo": elbo}, samples)
    plots.save(plots.image_of(torch.rand(3, 4, 4)), tmp_path / "picture.png")
    log_image(logger, "images/samples", tmp_path / "picture.png", 300)
    assert logger.where == f"wandb sync {os.path.relpath(tmp_path / 'wandb')}/offline-run-*"
    logger.finish(exit_code=0)

    records = read_offline_run(tmp_path)
    run = run_of(tmp_path)
    assert (run.run_id, run.project, run.run_group, run.job_type) == ("abc12345", "p", "g", "train")
    assert run.display_name == tmp_path.name
    assert list(run.tags) == ["a", "b"]
    config = config_of(tmp_path)
    assert config["model"] == {"latent_dim": 2}
    assert config["seed"] == 3

    history = [values(record.history.item) for record in records if record.HasField("history")]
    assert [(row["samples"], row["train/elbo"]) for row in history if "train/elbo" in row] == [
        (100, -5.0),
        (200, -3.0),
        (300, -4.0),
    ]
    (picture,) = [row["images/samples"] for row in history if "images/samples" in row]
    assert picture["_type"] == "image-file"
    (run_folder,) = tmp_path.glob("wandb/offline-run-*")
    assert (run_folder / "files" / picture["path"]).stat().st_size == (tmp_path / "picture.png").stat().st_size

    metrics = {r.metric.name or r.metric.glob_name: r.metric for r in records if r.HasField("metric")}
    assert metrics["*"].step_metric == "samples"
    assert metrics["train/elbo"].summary.max
    assert exit_code(tmp_path) == 0


@pytest.mark.parametrize(("code", "preempted"), [(1, False), (143, True)])
def test_unfinished_run_has_its_state(tmp_path, code, preempted):
    logger = WandbLogger(tmp_path)
    logger.log_metrics({"train/elbo": -1.0}, 100)
    logger.finish(exit_code=code)
    assert exit_code(tmp_path) == code
    assert any(record.HasField("preempting") for record in read_offline_run(tmp_path)) == preempted


def test_resumed_run_keeps_its_id_and_logs_the_previous_outcome(tmp_path):
    for folder, resumed_after in (("first", None), ("second", "killed")):
        (tmp_path / folder).mkdir()
        logger = WandbLogger(tmp_path / folder, id="abc12345", tags=["a"], resumed_after=resumed_after)
        logger.log_hyperparams({"seed": 1})
        logger.finish(exit_code=0)
    found = []
    for folder in ("first", "second"):
        run = run_of(tmp_path / folder)
        found.append((run.run_id, list(run.tags), config_of(tmp_path / folder)["resumed_after"]))
    assert found == [("abc12345", ["a"], None), ("abc12345", ["a", "resumed"], "killed")]


def test_resumed_run_is_online_with_its_id_and_exit_code(tmp_path, monkeypatch):
    wandb.teardown()
    with serve() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.address)
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        for resumed_after, exit_code, samples in ((None, 143, 100), ("interrupted", 0, 200)):
            logger = WandbLogger(tmp_path, id="abc12345", group="g", name="seed=1", resumed_after=resumed_after)
            logger.log_hyperparams({"seed": 1})
            logger.log_metrics({"train/elbo": -1.0}, samples)
            logger.finish(exit_code)
        wandb.teardown()
    assert list(server.runs) == ["abc12345"]
    told = server.runs["abc12345"]
    assert [begun["groupName"] for begun in told.begun] == ["g", "g"]
    assert [begun["displayName"] for begun in told.begun] == ["seed=1", "seed=1"]
    assert [begun["tags"] or [] for begun in told.begun] == [[], ["resumed"]]
    assert told.exit_codes == [143, 0]
    assert [(row["samples"], row["_step"]) for row in told.history] == [(100, 0), (200, 1)]


@pytest.mark.slow
def test_printed_command_uploads_every_part_of_a_resumed_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "it's a run, of mine"
    folder.mkdir()
    for part, resumed_after in enumerate((None, "killed", "interrupted")):
        logger = WandbLogger(folder, id="abc12345", resumed_after=resumed_after)
        for step in range(3 * part, 3 * part + 3):
            logger.log_metrics({"train/elbo": -1.0 * step}, 100 * step)
        logger.finish(exit_code=0)
        time.sleep(1.1)  # a part's folder is named by the second of its start
    wandb.teardown()
    assert len(list(folder.glob("wandb/offline-run-*"))) == 3
    with serve() as server:
        environment = os.environ | {"WANDB_BASE_URL": server.address, "WANDB_API_KEY": "0" * 40}
        command = logger.where.replace("wandb sync", f"{sys.executable} -m wandb sync")
        subprocess.run(command, shell=True, check=True, env=environment, capture_output=True, timeout=60)
    assert list(server.runs) == ["abc12345"]
    history = [(row["samples"], row["train/elbo"], row["_step"]) for row in server.runs["abc12345"].history]
    assert history == [(100 * step, -step, step) for step in range(9)]


@pytest.mark.parametrize("answer", ["silence", "refusal"])
def test_unreachable_server_gives_an_offline_run(tmp_path, monkeypatch, caplog, answer):
    wandb.teardown()
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        if answer == "refusal":
            server.close()
        monkeypatch.setenv("WANDB_BASE_URL", address)
        logger = WandbLogger(tmp_path, id="abc12345")
        logger.log_metrics({"train/elbo": -1.0}, 100)
        assert "offline-run" in logger.where
        logger.finish(0)
    (record,) = [record for record in caplog.records if record.name == "aevb"]
    assert record.message.startswith("wandb cannot start online (")
    assert "\n" not in record.message
    assert run_of(tmp_path).run_id == "abc12345"
    assert exit_code(tmp_path) == 0
    wandb.teardown()


def test_lost_server_does_not_block_the_end_of_a_run(tmp_path, monkeypatch, caplog):
    wandb.teardown()
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "1")
    with serve() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.address)
        logger = WandbLogger(tmp_path, id="abc12345")
        logger.log_metrics({"train/elbo": -1.0}, 100)
    logger.log_metrics({"train/elbo": -0.5}, 200)
    start = time.monotonic()
    logger.finish(0)
    assert time.monotonic() - start < 10
    (record,) = [record for record in caplog.records if record.name == "aevb"]
    (part,) = tmp_path.glob("wandb/run-*")
    assert record.message.endswith(f"upload it later with: wandb sync {os.path.relpath(part)}")
    wandb.teardown()


def test_offline_run_opens_no_connection(tmp_path, monkeypatch):
    wandb.teardown()  # its process of its own, and the settings that it has read
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("WANDB_BASE_URL", address)
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        logger = WandbLogger(tmp_path, offline=True, log_model=True)
        assert logger.experiment.settings.base_url == address
        assert os.environ["WANDB_ERROR_REPORTING"] == "false"
        logger.log_metrics({"train/elbo": -1.0}, 100)
        logger.finish(0, tmp_path / "best.ckpt")
        with pytest.raises(TimeoutError):
            server.accept()
    wandb.teardown()


def test_second_run_in_one_process_is_a_second_wandb_run(tmp_path):
    ids = []
    for name in ("first", "second"):
        logger = WandbLogger(tmp_path / name)
        (tmp_path / name).mkdir()
        ids.append(logger.experiment.id)
        logger.log_metrics({"train/elbo": -1.0}, 100)
        logger.finish(exit_code=0)
        assert wandb.run is None
    assert ids[0] != ids[1]
    for name in ("first", "second"):
        read_offline_run(tmp_path / name)


def test_online_only_with_credentials(tmp_path, monkeypatch):
    assert not has_credentials()
    assert WandbLogger(tmp_path)._wandb_init["mode"] == "offline"
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password " + "0" * 40 + "\n")
    (tmp_path / "netrc").chmod(0o600)
    assert has_credentials()
    assert WandbLogger(tmp_path)._wandb_init["mode"] is None
    assert WandbLogger(tmp_path, offline=True)._wandb_init["mode"] == "offline"


TINY = ["max_samples=300", "model.encoder.hidden=[16]", "callbacks.images=null", "logger.wandb.offline=true"]


def put_away(folder: RunFolder, to: Path) -> None:
    """Move the run's wandb files, so that the next attempt's are the only ones."""
    (folder.path / "wandb").rename(to)


def test_job_of_a_sweep_is_a_run_of_the_sweeps_group_and_stays_it(run_train, tmp_path):
    job = ["hydra.mode=MULTIRUN", "hydra.sweep.dir=sweeps/widths", "data.batch_size=50", "seed=1"]
    folder, _ = run_train(*TINY, *job, folder=tmp_path / "widths" / "data.batch_size=50,seed=1")
    run = run_of(folder.path)
    assert (run.run_group, run.display_name, run.job_type) == ("widths", "data.batch_size=50,seed=1", "train")
    assert run.run_id == folder.status()["id"]
    config = config_of(folder.path)
    assert config["model"]["likelihood"] == "continuous_bernoulli"
    assert config["model"]["latent_dim"] == 8
    assert (config["objective"], config["optimizer"], config["resumed_after"]) == ("sgvb", "adam", None)
    assert exit_code(folder.path) == 0

    put_away(folder, tmp_path / "first")
    run_train(f"resume='{folder.path}'", "max_samples=1300", folder=folder.path)
    again = run_of(folder.path)
    assert (again.run_id, again.run_group, again.display_name) == (run.run_id, run.run_group, run.display_name)
    assert config_of(folder.path)["resumed_after"] == "finished"


def test_group_and_name_of_the_users_own_are_kept(run_train):
    folder, _ = run_train(
        *TINY, "hydra.mode=MULTIRUN", "logger.wandb.group=mine", "logger.wandb.name=me", "logger.wandb.tags=[paper]"
    )
    run = run_of(folder.path)
    assert (run.run_group, run.display_name, list(run.tags)) == ("mine", "me", ["paper"])


def test_run_by_itself_has_no_group(run_train):
    folder, _ = run_train(*TINY)
    run = run_of(folder.path)
    assert (run.run_group, run.display_name) == ("", folder.path.name)


@pytest.mark.parametrize(
    ("error", "code", "state"),
    [
        (Interrupted(signal.SIGTERM, 100), 143, "interrupted"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (RuntimeError("a bug"), 1, "failed"),
    ],
)
def test_wandb_gets_the_exit_code_of_the_run(run_train, tmp_path, monkeypatch, error, code, state):
    def stops(*arguments):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(aevb.apps.train, "test", stops)
        with pytest.raises(Stopped) as stopped:
            run_train(*TINY)
    assert stopped.value.exit_code == code
    folder = RunFolder(tmp_path / "run")
    assert exit_code(folder.path) == code

    put_away(folder, tmp_path / "first")
    run_train(f"resume={folder.path}", folder=folder.path)
    assert config_of(folder.path)["resumed_after"] == state
    assert "resumed" in run_of(folder.path).tags


def test_killed_run_is_marked_when_it_is_resumed(run_train, tmp_path):
    folder, _ = run_train(*TINY)
    folder.write_status(state="running", ended=None)  # what SIGKILL leaves
    put_away(folder, tmp_path / "first")
    run_train(f"resume={folder.path}", "max_samples=1300", folder=folder.path)
    assert config_of(folder.path)["resumed_after"] == "killed"

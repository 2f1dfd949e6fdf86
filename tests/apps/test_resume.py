"""Runs that are continued: by `resume=`, by the same command, in another place."""

import shutil
import signal

import pytest
import torch

import aevb
import aevb.training.module
from aevb.errors import ConfigError, Stopped
from aevb.runs.folder import RunFolder

from ..compare import assert_same_end, weights

TINY = ["max_samples=2000", "model.encoder.hidden=[16]", "logger=none"]
"""A run of about a second."""


def test_longer_run_equals_a_resumed_one(run_train, tmp_path):
    # 1397 images give 13 minibatches an epoch, in blocks of 10 and 3; steps are recorded after 100 minibatches.
    settings = [*TINY, "schedule=burda", "trainer.check_val_every_n_epoch=5"]
    whole, _ = run_train(*settings, "max_samples=15000", folder=tmp_path / "whole")
    part, _ = run_train(*settings, "max_samples=500", folder=tmp_path / "part")
    for end in (12_350, 15_000):
        resumed, _ = run_train(f"resume={part.path}", f"max_samples={end}", folder=part.path)
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name
    assert resumed.config().max_samples == 15_000
    assert resumed.command() == ["max_samples=15000", *settings[1:]]  # makes the whole run


@pytest.mark.parametrize("binarization", ["none", "dynamic"])
def test_killed_run_resumes_exactly(run_train, interrupt, tmp_path, binarization):
    settings = [
        "max_samples=60000",
        "model.encoder.hidden=[16]",
        "logger=none",
        "callbacks.images=null",
        "callbacks.checkpoint.every_samples=3000",
        "callbacks.metrics.every_samples=1000",
        "trainer.check_val_every_n_epoch=3",
        f"data.binarization={binarization}",
    ]
    killed = RunFolder(tmp_path / "killed")
    process = interrupt(signal.SIGKILL, *settings, folder=killed.path)
    assert process.returncode == -signal.SIGKILL
    assert killed.status()["state"] == "running"
    assert killed.load_checkpoint("last")[1]["samples"] < 60000

    run_train(f"resume={killed.path}", folder=killed.path)
    whole, _ = run_train(*settings, folder=tmp_path / "whole")
    assert_same_end(killed, whole)
    assert killed.status()["state"] == "finished"


def test_resume_keeps_the_model(run_train):
    folder, _ = run_train(*TINY)
    with pytest.raises(ConfigError, match=r"model.latent_dim: a resumed run keeps its own"):
        run_train(f"resume={folder.path}", "model.latent_dim=3", folder=folder.path)


@pytest.mark.parametrize("key", ["schedule.T_max", "model.encoder.channels"])
def test_settings_that_a_run_may_have_and_the_default_has_not_are_kept_too(key, command, run_train):
    folder, _ = run_train(*TINY)
    process = command(f"resume={folder.path}", f"{key}=5")
    assert process.returncode == 2
    assert process.stderr == f"error: {key}: a resumed run keeps its own; drop {key}=5, or start a new run\n"


def test_resume_without_a_run_creates_nothing(command, tmp_path):
    process = command("resume=nowhere")
    assert process.returncode == 2
    assert process.stderr == "error: resume: nowhere is not a run folder: it has no .hydra/config.yaml\n"
    assert list(tmp_path.iterdir()) == []


def test_finished_run_is_not_tested_again(run_train, capsys):
    folder, metric = run_train(*TINY)
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file() and path.suffix != ".log"}
    assert run_train(f"resume={folder.path}", folder=folder.path)[1] == metric
    assert before == {
        path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file() and path.suffix != ".log"
    }
    with pytest.raises(ConfigError, match=r"max_samples: .* may grow, but not become 1000"):
        run_train(f"resume={folder.path}", "max_samples=1000", folder=folder.path)


@pytest.mark.parametrize("stage", ["validation_step", "test_step"])
def test_run_killed_after_its_training_has_each_row_once(run_train, tmp_path, monkeypatch, stage):
    whole, _ = run_train(*TINY, folder=tmp_path / "whole")
    for _ in range(2):  # twice in the same place

        def killed(self, *arguments):
            if self.trainer.state.fn != "fit":
                raise KeyboardInterrupt

        begun = (tmp_path / "run" / "status.json").exists()
        with monkeypatch.context() as patch:
            patch.setattr(aevb.training.module.AEVB, stage, killed)
            with pytest.raises(Stopped):
                run_train(*([f"resume={tmp_path / 'run'}"] if begun else TINY))
    folder, _ = run_train(f"resume={tmp_path / 'run'}")
    assert_same_end(folder, whole)


def test_killed_start_is_repeated_by_the_same_command(run_train, tmp_path, monkeypatch):
    folder = RunFolder(tmp_path / "run")
    for killed_in in ("write_config", "config", ""):
        with monkeypatch.context() as patch:
            if killed_in == "write_config":
                patch.setattr(RunFolder, "write_config", interrupted)
            if killed_in == "config":
                patch.setattr("aevb.runs.folder.write_status", interrupted)
            if killed_in:
                with pytest.raises(KeyboardInterrupt):
                    run_train(*TINY)
                assert not folder.status_file.exists()
    run_train(*TINY)
    assert folder.status()["state"] == "finished"
    assert folder.command() == TINY


def interrupted(*arguments):
    raise KeyboardInterrupt


SMALL = ["max_samples=1000", "model.encoder.hidden=[8]", "callbacks.images=null"]


def test_moved_run_continues_in_its_new_folder(run_train, tmp_path):
    folder, _ = run_train(*SMALL, "logger=csv")
    assert "${" not in folder.config_file.read_text()
    moved = RunFolder(shutil.move(folder.path, tmp_path / "moved"))
    run_train(f"resume={moved.path}", "max_samples=1500", folder=moved.path)
    assert moved.status()["samples"] == 1500
    assert moved.config().logger.csv.save_dir == str(moved.path)
    assert (moved.path / "csv" / "metrics.csv").is_file()
    assert not folder.path.exists()

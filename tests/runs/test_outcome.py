"""How runs end: recorded, also where the disk is full or the folder is gone."""

import errno
import json
import shutil

import pytest
from omegaconf import OmegaConf

from aevb.errors import ConfigError, Stopped
from aevb.runs import status
from aevb.runs.folder import RunFolder
from aevb.runs.outcome import recorded


@pytest.fixture
def folder(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.create(OmegaConf.create({}), ["seed=1"])
    run.last_checkpoint.parent.mkdir()
    run.last_checkpoint.touch()
    run.best_checkpoint.touch()
    return run


def test_outcome_is_recorded(folder):
    with recorded(folder):
        pass
    assert (folder.status()["state"], folder.status()["error"]) == ("finished", None)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "run/last.ckpt"),
            1,
            "run/last.ckpt: No space left on device",
        ),
        (OSError("no number"), 1, "no number"),
        (RuntimeError("a bug\nof two lines"), 1, "a bug"),
    ],
)
def test_failure_is_one_line(folder, error, code, message):
    with pytest.raises(Stopped, match=f"^error: {message}$") as stopped, recorded(folder):
        raise error
    assert stopped.value.exit_code == code
    assert (folder.status()["state"], folder.status()["error"]) == ("failed", message)


def test_status_is_overwritten_in_place_on_a_full_disk(folder, monkeypatch):
    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(status, "atomic_write", full)
    folder.write_status(error="x" * 500)
    before = folder.status_file.stat().st_size
    with pytest.raises(Stopped), recorded(folder):
        full("metrics.csv", "")
    assert json.loads(folder.status_file.read_text())["state"] == "failed"
    assert folder.status_file.stat().st_size == before  # no new space


@pytest.mark.parametrize("what", ["", "status.json", ".hydra/config.yaml", "checkpoints/best.ckpt"])
def test_run_whose_files_are_removed_fails(folder, what):
    path = folder.path / what
    with pytest.raises(Stopped, match=r"was removed while|is missing at the end") as stopped, recorded(folder):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert stopped.value.exit_code == 1


def replace(path):
    shutil.rmtree(path)
    RunFolder(path).create(OmegaConf.create({}), ["seed=2"])


def test_folder_replaced_by_another_run_is_not_written(folder, monkeypatch):
    monkeypatch.setattr(folder, "require_whole", lambda: None)
    with pytest.raises(Stopped, match="was replaced by that of another"), recorded(folder):
        replace(folder.path)
    assert folder.command() == ["seed=2"]
    assert RunFolder(folder.path).status()["state"] == "running"


def test_invalid_setting_is_recorded_and_raised(folder):
    with pytest.raises(ConfigError, match="seed: no"), recorded(folder):
        raise ConfigError("seed: no")
    assert folder.status()["error"] == "seed: no"

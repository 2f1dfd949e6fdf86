"""What wandb is told of a run: its place in a sweep, how it ended, and that it was resumed."""

import signal
from pathlib import Path

import pytest

import aevb.apps.train
from aevb.errors import Interrupted, Stopped
from aevb.runs.folder import RunFolder

from ..wandb_file import config_of, exit_code, run_of

TINY = ["max_samples=300", "model.encoder.hidden=[16]", "callbacks.images=null", "logger.offline=true"]


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
    assert config["model"]["likelihood"] == "bernoulli"
    assert config["model"]["latent_dim"] == 2
    assert (config["objective"], config["optimizer"], config["resumed_after"]) == ("sgvb", "adagrad", None)
    assert exit_code(folder.path) == 0

    put_away(folder, tmp_path / "first")
    run_train(f"resume='{folder.path}'", "max_samples=1300", folder=folder.path)
    again = run_of(folder.path)
    assert (again.run_id, again.run_group, again.display_name) == (run.run_id, run.run_group, run.display_name)
    assert config_of(folder.path)["resumed_after"] == "finished"


def test_group_and_name_of_the_users_own_are_kept(run_train):
    folder, _ = run_train(*TINY, "hydra.mode=MULTIRUN", "logger.group=mine", "logger.name=me", "logger.tags=[paper]")
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

"""Folders that cannot be used end a program before it does anything else."""

import os

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from aevb.apps.folder_check import FolderCheck

from ..conftest import ROOT


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Do what Hydra does before it makes the run folder."""
    monkeypatch.chdir(tmp_path)

    def call(*overrides):
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            config = compose("train", [*overrides], return_hydra_config=True)
        FolderCheck().on_run_start(config)

    yield call
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hydra.run.dir=/proc/new/run", "hydra.run.dir: /proc/new/run cannot be written: No such file or directory"),
        ("hydra.run.dir=/dev/null/run", "hydra.run.dir: /dev/null/run cannot be written: Not a directory"),
        ("hydra.run.dir=" + "x" * 300, f"hydra.run.dir: {'x' * 300} cannot be written: File name too long"),
        ("hydra.run.dir=", "hydra.run.dir must name a folder, got ''"),
    ],
)
def test_folder_that_cannot_be_used_is_one_line(start, tmp_path, capsys, override, message):
    with pytest.raises(SystemExit) as end:
        start(override)
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {message}")
    assert len(said.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_folder_that_can_be_made_is_not_made_yet(start, tmp_path):
    start("hydra.run.dir=new/run")
    assert list(tmp_path.iterdir()) == []
    start()  # a name of the date and the data, which is new for each start
    assert len(list(tmp_path.glob("outputs/*/*-digits-bernoulli"))) == 1
    assert not any(os.scandir(next(tmp_path.glob("outputs/*/*"))))

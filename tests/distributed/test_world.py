"""Processes that torchrun or srun has started, by what the environment says."""

import threading
from pathlib import Path

import pytest
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from aevb.distributed import world
from aevb.distributed.strategy import Srun, environment
from aevb.distributed.world import is_one_of_many, launch_id, publish, published, rank, size
from aevb.errors import Stopped

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
SRUN = {
    "SLURM_PROCID": "1",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_NTASKS": "2",
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_ID": "0",
}
BATCH_SCRIPT = {"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_JOB_ID": "7"}
SINGLE_TASK = {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "1", "SLURM_JOB_NAME": "train"}


@pytest.mark.parametrize(
    ("variables", "place", "kind"),
    [
        ({}, (0, 1), LightningEnvironment),
        (TORCHRUN, (3, 4), TorchElasticEnvironment),
        (SRUN, (1, 2), Srun),
        (BATCH_SCRIPT, (0, 1), LightningEnvironment),
        (SINGLE_TASK, (0, 1), LightningEnvironment),
    ],
    ids=["alone", "torchrun", "srun", "in a batch script", "one task"],
)
def test_place(monkeypatch, variables, place, kind):
    for name in {*TORCHRUN, *SRUN, *SINGLE_TASK}:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (rank(), size()) == place
    assert is_one_of_many() == (place[1] > 1)
    assert type(environment()) is kind


def test_trainer_must_know_the_number_of_tasks(monkeypatch):
    for name, value in SRUN.items():
        monkeypatch.setenv(name, value)
    environment().validate_settings(1, 2)
    with pytest.raises(ValueError, match=r"trainer.num_nodes must be 2, the number of tasks that srun has started"):
        environment().validate_settings(1, 1)


def test_others_wait_for_the_first(tmp_path):
    found = []
    threads = [threading.Thread(target=lambda: found.append(published(tmp_path))) for _ in range(3)]
    for thread in threads:
        thread.start()
    publish(Path("outputs/run"), tmp_path)
    for thread in threads:
        thread.join()
    assert found == [Path("outputs/run")] * 3


def test_rendezvous_without_a_run_and_without_a_publisher(tmp_path, monkeypatch):
    monkeypatch.setattr(world, "PATIENCE_SECONDS", 0.1)
    with pytest.raises(Stopped, match=r"^error: rank 0 has published no run folder"):
        published(tmp_path)
    publish(None, tmp_path)
    assert published(tmp_path) is None


def test_names_of_different_starts_differ():
    starts = [
        TORCHRUN,
        TORCHRUN | {"MASTER_PORT": "2"},
        SRUN,
        SRUN | {"SLURM_STEP_ID": "1"},
        SRUN | {"SLURM_JOB_ID": "8"},
    ]
    assert len({launch_id(start) for start in starts}) == len(starts)
    assert launch_id(TORCHRUN) == launch_id(TORCHRUN | {"RANK": "0", "LOCAL_RANK": "0"})
    assert launch_id(SRUN) == launch_id(SRUN | {"SLURM_PROCID": "0"})

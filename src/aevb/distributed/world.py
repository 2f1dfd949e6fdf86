"""Rank and number of the processes of a run, and a rendezvous for their run folder.

Imports nothing heavy, as Hydra needs it to compose the name of the run folder.
"""

import atexit
import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

from aevb.errors import Stopped
from aevb.files import atomic_write

PATIENCE_SECONDS = 600.0


def by_torchrun(variables: Mapping[str, str]) -> bool:
    """Whether the environment variables are torchrun's."""
    return {"RANK", "WORLD_SIZE", "LOCAL_RANK"} <= variables.keys()


def by_srun(variables: Mapping[str, str]) -> bool:
    """Whether the environment variables are those of srun with several tasks, not those of a batch script."""
    return int(variables.get("SLURM_STEP_NUM_TASKS", 1)) > 1


def is_one_of_many() -> bool:
    """Whether torchrun or srun has started this process as one of several."""
    return by_torchrun(os.environ) or by_srun(os.environ)


def rank() -> int:
    """The rank of this process; rank 0 writes the run folder."""
    if by_torchrun(os.environ):
        return int(os.environ["RANK"])
    return int(os.environ["SLURM_PROCID"]) if by_srun(os.environ) else 0


def size() -> int:
    """The number of processes of the run."""
    if by_torchrun(os.environ):
        return int(os.environ["WORLD_SIZE"])
    return int(os.environ["SLURM_STEP_NUM_TASKS"]) if by_srun(os.environ) else 1


def publish(run_folder: Path | None, place: str | Path = "outputs") -> None:
    """Publish the run folder, None if there is nothing to train, to the other ranks of torchrun or srun.

    By a file in a folder that all ranks share; it is removed when this process exits.
    """
    path = rendezvous(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, json.dumps(None if run_folder is None else str(run_folder)))
    atexit.register(path.unlink, missing_ok=True)


def published(place: str | Path = "outputs") -> Path | None:
    """The run folder that rank 0 publishes, for which this waits; None if there is nothing to train.

    Raises:
        Stopped: nothing was published within `PATIENCE_SECONDS`.
    """
    path, end = rendezvous(place), time.monotonic() + PATIENCE_SECONDS
    while not path.exists():
        if time.monotonic() > end:
            raise Stopped(f"error: rank 0 has published no run folder in {path}", 1)
        time.sleep(0.05)
    folder = json.loads(path.read_text())
    return None if folder is None else Path(folder)


def rendezvous(place: str | Path) -> Path:
    """The file of this launch."""
    return Path(place) / f".rendezvous-{launch_id(os.environ)}"


def launch_id(variables: Mapping[str, str]) -> str:
    """A short name that is the same for all processes of one launch, and unique to it."""
    names = ["SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"]
    if by_torchrun(variables):
        names = ["TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT"]
    known = [variables.get(name, "") for name in names]
    if variables.get("LOCAL_WORLD_SIZE") == variables.get("WORLD_SIZE", ""):
        known.append(str(os.getppid()))  # on one machine torchrun is the parent of all
    return hashlib.blake2b("\n".join(known).encode(), digest_size=6).hexdigest()

"""Rank and number of the processes that train together, and a rendezvous for their run folder.

Nothing heavy is imported here: Hydra's composition of the run folder's name needs it.
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
    """Whether the environment variables are those of srun with several tasks; a batch script's are not."""
    return int(variables.get("SLURM_STEP_NUM_TASKS", 1)) > 1


def is_one_of_many() -> bool:
    """Whether torchrun or srun has started the processes that train together."""
    return by_torchrun(os.environ) or by_srun(os.environ)


def rank() -> int:
    """The number of this process among those that train together; the first, 0, writes the run folder."""
    if by_torchrun(os.environ):
        return int(os.environ["RANK"])
    return int(os.environ["SLURM_PROCID"]) if by_srun(os.environ) else 0


def size() -> int:
    """How many processes train together."""
    if by_torchrun(os.environ):
        return int(os.environ["WORLD_SIZE"])
    return int(os.environ["SLURM_STEP_NUM_TASKS"]) if by_srun(os.environ) else 1


class Rendezvous:
    """A file by which the first of the processes that torchrun or srun started tells the others the run folder.

    The first names the folder, by the time, and writes it before the others read it.

    Args:
        folder: A folder that they share.
    """

    def __init__(self, folder: str | Path = "outputs") -> None:
        self.path = Path(folder) / f".rendezvous-{launch_id(os.environ)}"

    def publish(self, run_folder: Path | None) -> None:
        """Tell the others where to train; None: there is nothing to train. The file is removed with this process."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(self.path, json.dumps(None if run_folder is None else str(run_folder)))
        atexit.register(self.path.unlink, missing_ok=True)

    def wait(self) -> Path | None:
        """Wait for the first process, and return the run folder; None where there is nothing to train.

        Raises:
            Stopped: it has published nothing for `PATIENCE_SECONDS`.
        """
        end = time.monotonic() + PATIENCE_SECONDS
        while not self.path.exists():
            if time.monotonic() > end:
                raise Stopped(f"error: the first process has named no run folder in {self.path}", 1)
            time.sleep(0.05)
        folder = json.loads(self.path.read_text())
        return None if folder is None else Path(folder)


def launch_id(variables: Mapping[str, str]) -> str:
    """A short name that the processes of one launch share, and no other launch has."""
    names = ["SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"]
    if by_torchrun(variables):
        names = ["TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT"]
    known = [variables.get(name, "") for name in names]
    if variables.get("LOCAL_WORLD_SIZE") == variables.get("WORLD_SIZE", ""):
        known.append(str(os.getppid()))  # on one machine torchrun is the parent of all
    return hashlib.blake2b("\n".join(known).encode(), digest_size=6).hexdigest()

"""The table of a sweep as a separate wandb run."""

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb

from aevb.errors import first_line
from aevb.files import atomic_write
from aevb.training.loggers.wandb_run import WandbLogger


def log_sweep_table(folder: str | Path, rows: Sequence[Mapping[str, Any]], exit_code: int = 0, **settings: Any) -> str:
    """Log the table of a sweep's jobs as a wandb run of job type `sweep`, in the group of the jobs.

    Its id is stored in the sweep's folder, so that the table of a resumed sweep replaces the previous one.

    Args:
        folder: The sweep's folder; wandb's own files go to `<folder>/wandb`.
        rows: A mapping for each job, with the same keys.
        exit_code: The exit code of the sweep; the run is marked as failed unless it is 0.
        settings: `project`, `entity`, `group`, `tags` and `offline` of `WandbLogger`; the group's default is the
            folder's name.

    Returns:
        Its address, the command that uploads it, or the reason why logging failed.
    """
    folder = Path(folder)
    group = settings.pop("group", None) or folder.resolve().name
    try:
        logger = WandbLogger(
            folder, name=group, group=group, job_type="sweep", id=stored_id(folder / "wandb" / "sweep_id"), **settings
        )
        data = [list(row.values()) for row in rows]
        table = wandb.Table(columns=list(rows[0]), data=data, allow_mixed_types=True)
        logger.experiment.log({"jobs": table})
        where = logger.where
        logger.finish(exit_code)
    except Exception as error:
        return f"the table could not be logged: {first_line(error)}"
    return where


def stored_id(file: Path) -> str:
    """The id in a file, which is created where it is missing."""
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(file, uuid.uuid4().hex[:8])
    return file.read_text()

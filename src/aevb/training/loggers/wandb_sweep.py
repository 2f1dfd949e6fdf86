"""The table of a sweep as a wandb run of its own."""

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb

from aevb.files import atomic_write
from aevb.training.loggers.wandb_run import chosen_mode, where_to_look


def log_sweep_table(
    folder: str | Path,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    project: str = "aevb",
    entity: str | None = None,
    group: str | None = None,
    tags: Sequence[str] = (),
    offline: bool | None = None,
    exit_code: int = 0,
) -> str:
    """Log the table of a sweep's jobs as a wandb run of job type `sweep`, in the group of the jobs.

    The run's id is kept in the sweep's folder: the table of a resumed sweep replaces the one before.

    Args:
        folder: The sweep's folder; wandb's own files go to `<folder>/wandb`.
        rows: A mapping for each job, in the order of the table; a column that it lacks is empty.
        columns: Names of the columns, in order.
        project: wandb's project.
        entity: User or team; None: the account's default.
        group: The group of the jobs; None: the folder's name.
        tags: To filter by.
        offline: As for `WandbLogger`.
        exit_code: Of the sweep: not 0 marks the run as failed.

    Returns:
        Where to look at it, or how to upload it.
    """
    folder = Path(folder)
    name = group or folder.resolve().name
    run = wandb.init(
        project=project,
        entity=entity,
        name=name,
        group=name,
        job_type="sweep",
        tags=list(tags),
        dir=str(folder),
        id=kept_id(folder / "wandb" / "sweep_id"),
        resume="allow",
        mode=chosen_mode(offline),  # type: ignore[arg-type]  # wandb's Literal
        settings=wandb.Settings(silent=True),
    )
    data = [[row.get(column) for column in columns] for row in rows]
    run.log({"jobs": wandb.Table(columns=list(columns), data=data, allow_mixed_types=True)})
    where = where_to_look(run)
    run.finish(exit_code=exit_code)
    return where


def kept_id(file: Path) -> str:
    """The id in a file, which is made where there is none."""
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(file, uuid.uuid4().hex[:8])
    return file.read_text()

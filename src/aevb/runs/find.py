"""Which folders are runs."""

import os
from pathlib import Path

from aevb.runs.folder import RunFolder


def find_runs(path: str | Path) -> list[RunFolder]:
    """The run folders at `path` and below, in the order of their paths; empty where there is none.

    A folder is a run's if it has a .hydra/config.yaml or a status.json, whole or not; what is below it belongs to it.
    """
    found: list[RunFolder] = []
    for folder, folders, _ in os.walk(path):
        run = RunFolder(folder)
        if run.status_file.exists() or run.config_file.exists():
            found.append(run)
            folders.clear()
    return sorted(found, key=lambda run: run.path)

"""Finds run folders."""

import os
from pathlib import Path

from aevb.runs.folder import RunFolder


def find_runs(path: str | Path) -> list[RunFolder]:
    """The run folders at `path` and below, sorted by path.

    A folder is a run folder if it has a .hydra/config.yaml or a status.json, valid or not; it contains no other runs.
    """
    found: list[RunFolder] = []
    for folder, folders, _ in os.walk(path):
        run = RunFolder(folder)
        if run.status_file.exists() or run.config_file.exists():
            found.append(run)
            folders.clear()
    return sorted(found, key=lambda run: run.path)

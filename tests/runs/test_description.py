"""A run as a row of a table."""

from omegaconf import OmegaConf

from aevb.runs.description import status_columns
from aevb.runs.folder import RunFolder
from aevb.runs.lock import locked


def test_killed_run_is_interrupted(tmp_path):
    run = RunFolder(tmp_path)
    run.create(OmegaConf.create({}), ["seed=1"])
    row = status_columns(run)
    assert (row["state"], row["reason"]) == ("interrupted", "its process was killed")
    with locked(tmp_path):
        row = status_columns(run)
        assert (row["state"], row["reason"]) == ("running", None)

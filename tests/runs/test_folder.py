"""Creating a run folder, and reading its status."""

import pytest
from omegaconf import OmegaConf

from aevb.errors import ConfigError
from aevb.runs.description import status_columns


def test_run_is_created_once(folder):
    status = folder.status()
    with pytest.raises(ConfigError, match="already contains a run"):
        folder.create(OmegaConf.create({}), [])
    assert folder.status() == status


def test_results_of_fewer_samples_go_where_a_run_continues(folder):
    folder.write_status(state="finished", samples=10, results={"test/elbo": -1.5}, ended_by="max_samples")
    folder.resume(OmegaConf.create({}))
    folder.write_status(state="interrupted", samples=20)
    assert "test/elbo" not in status_columns(folder)
    assert folder.status()["ended_by"] is None


def test_damaged_status(folder):
    folder.status_file.write_text('{"state": "runn')
    with pytest.raises(ConfigError, match=r"status.json cannot be read"):
        folder.status()

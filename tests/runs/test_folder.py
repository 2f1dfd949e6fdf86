"""Creating a run folder, and reading its status."""

import pytest
from omegaconf import OmegaConf

from aevb.errors import ConfigError


def test_run_is_created_once(folder):
    status = folder.status()
    with pytest.raises(ConfigError, match="already contains a run"):
        folder.create(OmegaConf.create({}), [])
    assert folder.status() == status


def test_damaged_status(folder):
    folder.status_file.write_text('{"state": "runn')
    with pytest.raises(ConfigError, match=r"status.json cannot be read"):
        folder.status()

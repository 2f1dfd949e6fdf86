"""Checkpoints hold only data, and no more than their file."""

import zipfile

import pytest
import torch

from aevb.errors import ConfigError
from aevb.runs.checkpoints import SizeLimit, read_checkpoint


def save(path, content):
    torch.save(content, path)
    return path


def test_checkpoint_that_is_compressed_or_larger_than_its_file_is_refused(tmp_path):
    path = save(tmp_path / "best.ckpt", {"state_dict": {"w": torch.zeros(1 << 20)}, "samples": 1})
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    with pytest.raises(ConfigError, match="compressed"):
        read_checkpoint(path, tmp_path)
    save(path, {"state_dict": {"w": torch.zeros(1).expand(1 << 40)}, "samples": 1})
    with pytest.raises(ConfigError, match="larger than its stored data"):
        read_checkpoint(path, tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"samples": 1},
        {"state_dict": {}},
        {"state_dict": {}, "samples": -1},
        {"state_dict": {}, "samples": "1"},
        {"state_dict": {"w": 1}, "samples": 1},
        {"state_dict": [], "samples": 1},
    ],
)
def test_checkpoint_of_something_else_is_refused(tmp_path, content):
    with pytest.raises(ConfigError, match="is damaged") as error:
        read_checkpoint(save(tmp_path / "best.ckpt", content), tmp_path)
    assert "\n" not in str(error.value)


def test_model_that_is_larger_than_its_weights_is_not_built():
    weights = {"w": torch.zeros(10)}
    with SizeLimit(weights):
        torch.nn.Linear(100, 100)
    with pytest.raises(ValueError, match="larger than its checkpoint"), SizeLimit(weights):
        torch.nn.Linear(10_000, 10_000)
    with pytest.raises(ValueError, match="larger than its checkpoint"), SizeLimit(weights):
        torch.nn.ModuleList(torch.nn.Linear(1, 1) for _ in range(1_000_000))

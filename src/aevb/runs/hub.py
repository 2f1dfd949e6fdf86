"""Exported models on the Hugging Face hub; an extra."""

import shutil
from pathlib import Path
from typing import Any, Self

from aevb.errors import ConfigError, extra, first_line

with extra("hub", "the Hugging Face hub"):
    from huggingface_hub import PyTorchModelHubMixin, snapshot_download


class HubModel(PyTorchModelHubMixin):
    """An exported folder, with the `push_to_hub`, `save_pretrained` and `from_pretrained` of the hub's models.

    Args:
        folder: What `aevb export` wrote; `aevb.load` takes it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _save_pretrained(self, save_directory: Path) -> None:
        for file in self.folder.iterdir():
            if file.is_file() and not file.name.startswith("."):
                shutil.copy(file, save_directory / file.name)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> Self:
        return cls(Path(model_id if Path(model_id).is_dir() else snapshot_download(model_id, **options)))


def download(name: str) -> Path:
    """The files of <user>/<name>, in the hub's own cache."""
    try:
        return HubModel.from_pretrained(name).folder
    except Exception as error:  # of its client: no such name, no access, no network
        raise ConfigError(f"hf://{name} cannot be downloaded: {first_line(error)}") from error


def push(folder: Path, name: str) -> str:
    """Upload an exported folder as <user>/<name>; returns its address."""
    try:
        return str(HubModel(folder).push_to_hub(name, commit_message="Export by aevb"))
    except Exception as error:
        raise ConfigError(f"hub: {name} cannot be uploaded: {first_line(error)}") from error

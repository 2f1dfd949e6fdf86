"""Intermediate results, from which an interrupted evaluation continues."""

import io
import zipfile
from pathlib import Path

import numpy as np
import torch

from aevb.estimators.base import Estimates
from aevb.files import atomic_write, open_file, stored_size

MAX_BYTES = 1 << 30


class PartialEstimates:
    """The estimates of the first chunks of datapoints, in a .npz file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> tuple[Estimates | None, float]:
        """The estimates, and the seconds they took; None where the file is missing or damaged."""
        try:
            with open_file(self.path, self.path.parent, MAX_BYTES) as archive:
                stored_size(archive)
                with np.load(archive, allow_pickle=False) as file:
                    arrays = {name: torch.from_numpy(file[name]) for name in file.files}
            seconds = float(arrays.pop("seconds"))
            return Estimates(arrays.pop("value"), arrays.pop("variance"), arrays), seconds
        except (OSError, EOFError, TypeError, ValueError, KeyError, zipfile.BadZipFile):
            return None, 0.0

    def save(self, found: Estimates, seconds: float) -> None:
        """Write the estimates so far."""
        buffer = io.BytesIO()
        values = {"value": found.value, "variance": found.variance, **found.diagnostics}
        arrays = {name: value.cpu().numpy() for name, value in values.items()}
        np.savez(buffer, allow_pickle=False, seconds=np.array(seconds), **arrays)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(self.path, buffer.getvalue())

    def remove(self) -> None:
        """Remove the file, and its folder if that is empty."""
        self.path.unlink(missing_ok=True)
        if self.path.parent.is_dir() and not any(self.path.parent.iterdir()):
            self.path.parent.rmdir()

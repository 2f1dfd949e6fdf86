"""status.json: how far a run has come, how it ended, and what its test gave.

    {"id": "1f0a…", "state": "finished", "samples": 2000, "started": "2026-01-31T12:00:00+01:00", "ended": …,
     "error": null, "ended_by": "max_samples", "images_per_second": 51000.0, "results": {"val/elbo": −21.3, …}}

`state` is one of `STATES`. `results` are metrics of the best validation and of the test, in nats per datapoint;
`images_per_second` is of training without validation. A process that is killed leaves the state `running`.
"""

import datetime
import errno
import json
import os
from pathlib import Path
from typing import Any

from aevb.errors import ConfigError
from aevb.files import atomic_write

STATES = ("running", "finished", "interrupted", "failed", "pruned")


def read_status(file: Path) -> dict[str, Any]:
    """The content of a status.json.

    Raises:
        ConfigError: it is missing or damaged.
    """
    try:
        status: dict[str, Any] = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    return status


def write_status(file: Path, status: dict[str, Any]) -> None:
    """Replace a status.json; on a full disk its old bytes are overwritten, which takes no new space."""
    text = json.dumps(status, indent=2) + "\n"
    try:
        atomic_write(file, text)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not file.is_file():
            raise
        overwrite(file, text.encode())


def overwrite(file: Path, data: bytes) -> None:
    """Write over the content of a file in one step, padded with spaces where it was longer."""
    descriptor = os.open(file, os.O_WRONLY)
    try:
        os.pwrite(descriptor, data.ljust(os.fstat(descriptor).st_size), 0)
    finally:
        os.close(descriptor)


def now() -> str:
    """The present time in ISO 8601, with the offset from UTC."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")

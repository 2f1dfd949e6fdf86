"""status.json: progress, outcome and test results of a run.

    {"id": "1f0a…", "state": "finished", "samples": 2000, "started": "2026-01-31T12:00:00+01:00", "ended": …,
     "error": null, "ended_by": "max_samples", "images_per_second": 51000.0, "results": {"val/elbo": −21.3, …}}

`results` are metrics of the best validation and of the test, in nats per datapoint; `images_per_second` excludes
validation. A killed process leaves the state `running`.
"""

import datetime
import errno
import json
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from aevb.files import atomic_write
from aevb.runs.formats import Count, File, MetricName, Number, read_json


class Status(File):
    """Types of the values in a status.json."""

    state: Literal["running", "finished", "interrupted", "failed", "pruned"]
    samples: Count = 0
    id: str = Field(default="unknown", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    started: str | None = None
    ended: str | None = None
    error: str | None = None
    results: dict[MetricName, Number] = Field(default_factory=dict)
    images_per_second: Number = None
    ended_by: str | None = None
    resumed_after: str | None = None


def read_status(file: Path) -> dict[str, Any]:
    """The content of a status.json; a ConfigError where it is missing or damaged."""
    return read_json(file, file.parent, Status)


def write_status(file: Path, status: dict[str, Any]) -> None:
    """Replace a status.json; on a full disk, overwrite it in place, which needs no new space."""
    text = json.dumps(status, indent=2) + "\n"
    try:
        atomic_write(file, text)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not file.is_file():
            raise
        overwrite(file, text.encode())


def overwrite(file: Path, data: bytes) -> None:
    """Overwrite a file in place by one write, padded with spaces to its old size."""
    descriptor = os.open(file, os.O_WRONLY | os.O_NOFOLLOW)
    try:
        os.pwrite(descriptor, data.ljust(os.fstat(descriptor).st_size), 0)
    finally:
        os.close(descriptor)


def now() -> str:
    """The current time in ISO 8601, with the offset from UTC."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")

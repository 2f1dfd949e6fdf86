"""metrics.csv as a Lightning logger."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from aevb.runs.metrics import MetricsWriter


class MetricsFile(Logger):
    """Appends metrics to a metrics.csv, a row per logging step, and those of several members to members.csv beside it.

    Existing files are continued.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.file = MetricsWriter(path)
        self.members = MetricsWriter(Path(path).with_name("members.csv"))

    @property
    def name(self) -> str:
        return "metrics"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Ignored: the run folder has the configuration."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.file.append({"samples": step, **metrics})

    @rank_zero_only
    def log_members(self, metrics: Mapping[str, Sequence[float]], samples: int) -> None:
        """Append a row for each member, from the values of all members by metric."""
        for member, values in enumerate(zip(*metrics.values(), strict=True)):
            self.members.append({"samples": samples, "member": member, **dict(zip(metrics, values, strict=True))})

    def truncate(self, checkpoint: Mapping[str, Any]) -> None:
        """Keep the rows that the two files had at a checkpoint: a resumed run logs the others again."""
        self.file.truncate(checkpoint.get("metrics_rows", 0))
        self.members.truncate(checkpoint.get("members_rows", 0))

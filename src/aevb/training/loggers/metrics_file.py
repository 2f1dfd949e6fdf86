"""metrics.csv as a Lightning logger."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from aevb.runs.metrics import MetricsWriter


class MetricsFile(Logger):
    """Appends metrics to a metrics.csv, a row per logging step; an existing file is continued."""

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.file = MetricsWriter(path)

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

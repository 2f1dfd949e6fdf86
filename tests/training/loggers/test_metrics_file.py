"""The columns of metrics.csv."""

from pathlib import Path

import pytest

from aevb.training.loggers import (
    MetricsFile,
)


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "true")  # restored afterwards, whatever the loggers make of it
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY"):
        monkeypatch.delenv(name, raising=False)


def test_metrics_file_has_the_samples_first(tmp_path):
    logger = MetricsFile(tmp_path / "metrics.csv")
    logger.log_metrics({"a": 1.5}, 10)
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["samples,a", "10,1.5"]

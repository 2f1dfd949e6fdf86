"""The columns of metrics.csv."""

from aevb.training.loggers import MetricsFile


def test_metrics_file_has_the_samples_first(tmp_path):
    logger = MetricsFile(tmp_path / "metrics.csv")
    logger.log_metrics({"a": 1.5}, 10)
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["samples,a", "10,1.5"]

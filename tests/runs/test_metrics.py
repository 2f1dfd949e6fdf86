"""metrics.csv: written row by row, grown by columns, cut back for a resumed run."""

import pytest

from aevb.errors import ConfigError
from aevb.runs.metrics import MetricsWriter, read_metrics


def test_new_metric_adds_a_column(tmp_path):
    file = tmp_path / "metrics.csv"
    writer = MetricsWriter(file)
    writer.append({"samples": 10, "a": 1.5})
    before = file.stat().st_ino
    writer.append({"samples": 20, "a": 2.5})
    assert file.stat().st_ino == before
    writer.append({"samples": 20, "b": 3.5})
    assert file.read_text().splitlines() == ["samples,a,b", "10,1.5,", "20,2.5,", "20,,3.5"]
    assert writer.num_rows == 3


def test_resumed_run_continues_after_the_rows_of_its_checkpoint(tmp_path):
    file = tmp_path / "metrics.csv"
    writer = MetricsWriter(file)
    for samples in (10, 20, 30):
        writer.append({"samples": samples, "a": samples / 10})
    again = MetricsWriter(file)
    again.truncate(2)
    again.append({"samples": 25, "a": 9.0})
    assert file.read_text().splitlines() == ["samples,a", "10,1.0", "20,2.0", "25,9.0"]
    assert again.num_rows == 3


@pytest.mark.parametrize("unfinished", ["3", "30,", "30,3.1"])
def test_incomplete_row_is_ignored(tmp_path, unfinished):
    file = tmp_path / "metrics.csv"
    file.write_text("samples,a\n10,1.0\n" + unfinished)
    assert read_metrics(file).rows == [{"samples": "10", "a": "1.0"}]


def test_removed_file_is_not_created_again(tmp_path):
    writer = MetricsWriter(tmp_path / "metrics.csv")
    writer.append({"samples": 10, "a": 1.0})
    (tmp_path / "metrics.csv").unlink()
    with pytest.raises(FileNotFoundError):
        writer.append({"samples": 20, "a": 1.0})


def test_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,loss\n1,2\n")
    with pytest.raises(ConfigError, match=r"metrics.csv cannot be read: its first column is 'epoch', not samples"):
        read_metrics(tmp_path / "metrics.csv")

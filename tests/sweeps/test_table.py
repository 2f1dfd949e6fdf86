"""The table of a sweep, from folders alone."""

import csv

from omegaconf import OmegaConf

from aevb.runs.find import find_runs
from aevb.runs.folder import RunFolder
from aevb.runs.metrics import write_csv
from aevb.sweeps.table import as_text, table


def make_run(path, overrides, metric="val/elbo", **status):
    run = RunFolder(path)
    run.create(OmegaConf.create({"metric": metric}), overrides)
    run.write_status(**status)
    return run


def make_sweep(path):
    results = {"val/elbo": -20.0, "test/elbo": -21.5}
    make_run(path / "a", ["seed=1", "model=bernoulli", "max_samples=3000"], state="failed", error="the loss became nan")
    make_run(path / "b", ["seed=2", "model=bernoulli", "max_samples=3000"], state="finished", results=results)
    better = {"val/elbo": -10.25, "test/elbo": -31.5}
    found = {"results": better, "samples": 3000, "images_per_second": 12345.6}
    make_run(path / "c", ["seed=3", "model=bernoulli", "max_samples=3000"], state="finished", **found)
    make_run(path / "d", ["seed=4", "model=bernoulli", "max_samples=3000"], state="running")
    (path / "table.csv").touch()
    return find_runs(path)


def test_best_row_is_first_and_only_differing_overrides_are_columns(tmp_path):
    rows = table(make_sweep(tmp_path))
    assert [row["run"] for row in rows] == ["c", "b", "a", "d"]
    assert [row["seed"] for row in rows] == ["3", "2", "1", "4"]
    assert all("model" not in row and "max_samples" not in row for row in rows)
    assert rows[0]["test/elbo"] == -31.5
    assert rows[0]["images_per_second"] == 12345.6
    assert rows[2] | {"samples": 0, "test/elbo": None, "reason": "the loss became nan", "state": "failed"} == rows[2]


def test_the_name_of_the_sweep_is_no_column(tmp_path):
    for name in ("x", "y"):
        make_run(tmp_path / name, [f"seed={name}", f"sweep.name={name}"], state="finished")
    assert "sweep.name" not in table(find_runs(tmp_path))[0]


def test_metric_of_the_runs_decides(tmp_path):
    for name, value in {"x": 1.0, "y": 2.0}.items():
        results = {"val/elbo": -value, "test/kl": value}
        make_run(tmp_path / name, [f"seed={name}"], metric="test/kl", state="finished", results=results)
    assert [row["run"] for row in table(find_runs(tmp_path))] == ["y", "x"]


def test_text_and_csv(tmp_path):
    rows = table(make_sweep(tmp_path))
    lines = as_text(rows).splitlines()
    assert lines[0].split() == ["seed", "state", "samples", "images_per_second", "val/elbo", "test/elbo"]
    assert lines[1].split() == ["3", "finished", "3,000", "12,346", "-10.25", "-31.50"]
    assert lines[5] == "failed: a: the loss became nan"
    assert len(lines) == 7
    write_csv(tmp_path / "table.csv", list(rows[0]), rows)
    with (tmp_path / "table.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["seed"] for row in written] == ["3", "2", "1", "4"]
    assert float(written[0]["images_per_second"]) == 12345.6
    assert written[2]["test/elbo"] == ""


def test_empty_table(tmp_path):
    assert table(find_runs(tmp_path)) == []
    assert as_text([]) == ""
    make_run(tmp_path / "only", ["seed=1"], state="finished")
    assert as_text(table(find_runs(tmp_path))).splitlines()[1].split()[:2] == ["only", "finished"]


def test_jobs_that_cannot_be_used_have_a_row_with_the_reason(tmp_path):
    make_sweep(tmp_path)
    (tmp_path / "b" / "status.json").write_text("[]")
    (tmp_path / "c" / ".hydra" / "overrides.yaml").write_text("{")
    (tmp_path / "notes").mkdir()
    rows = {
        row["run"]: row for row in table(find_runs(tmp_path), failures={"d": "other settings", "e": "is no folder"})
    }
    assert {name: row["state"] for name, row in rows.items()} == {
        "a": "failed", "b": "unusable", "c": "finished", "d": "unusable", "e": "unusable"
    }  # fmt: skip
    assert str(tmp_path / "b" / "status.json") in rows["b"]["reason"]
    assert (rows["d"]["reason"], rows["e"]["reason"]) == ("other settings", "is no folder")
    assert "unusable: e: is no folder" in as_text(list(rows.values()))

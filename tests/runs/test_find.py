"""Which folders are runs."""

from omegaconf import OmegaConf

from aevb.runs.find import find_runs
from aevb.runs.folder import RunFolder


def test_runs_at_a_path_and_below(tmp_path):
    for name in ("b", "nested/a"):
        RunFolder(tmp_path / name).create(OmegaConf.create({}), [])
    (tmp_path / "b" / "copy" / ".hydra").mkdir(parents=True)
    (tmp_path / "b" / "copy" / ".hydra" / "config.yaml").touch()  # belongs to the run it lies in
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "status.json").touch()
    (tmp_path / "no run").mkdir()
    assert [run.path for run in find_runs(tmp_path)] == [tmp_path / name for name in ("b", "half", "nested/a")]
    assert [run.path for run in find_runs(tmp_path / "b")] == [tmp_path / "b"]
    assert find_runs(tmp_path / "no run") == find_runs(tmp_path / "missing") == []

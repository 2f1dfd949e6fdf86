"""Runs that are continued elsewhere, from what is stored of them."""

import shutil

from aevb.runs.folder import RunFolder

TINY = ["max_samples=1000", "model.encoder.hidden=[8]", "callbacks.images=null"]


def test_moved_run_goes_on_in_its_new_place(run_train, tmp_path):
    folder, _ = run_train(*TINY, "logger=csv")
    assert "${" not in folder.config_file.read_text()
    moved = RunFolder(shutil.move(folder.path, tmp_path / "moved"))
    run_train(f"resume={moved.path}", "max_samples=1500", folder=moved.path)
    assert moved.status()["samples"] == 1500
    assert moved.config().logger.save_dir == str(moved.path)
    assert (moved.path / "csv" / "metrics.csv").is_file()
    assert not folder.path.exists()

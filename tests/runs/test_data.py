"""A run meets only the data that it was trained with, wherever they are now."""

import json

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from aevb.apps.evaluate import evaluate
from aevb.errors import ConfigError

from ..conftest import ROOT

RUN = ["data=array", "model.encoder.hidden=[4]", "logger=none", "callbacks.images=null", "callbacks.progress=null"]


def images(count: int = 200) -> np.ndarray:
    return np.random.default_rng(0).random((count, 3, 3), dtype=np.float32)


def save(path, **changes) -> None:
    """A file of images with labels, with some datapoints of a split changed."""
    x, y = images(), np.arange(200) % 10
    arrays = {"x_train": x[:150], "y_train": y[:150], "x_val": x[150:170], "y_val": y[150:170]}
    arrays |= {"x_test": x[170:], "y_test": y[170:]}
    for name, value in changes.items():
        arrays[name] = arrays[name].copy()
        arrays[name][0] = value
    np.savez(path, **arrays)


def run_evaluate(folder, *overrides) -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        evaluate(compose("evaluate", [f"run={folder}", "estimators=[elbo]", "device=cpu", *overrides]))


def everything(folder) -> dict[str, bytes]:
    """The files of a run folder, but for the log of refused commands."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("train.log", ".lock")
    }


@pytest.fixture
def trained(run_train, tmp_path):
    """A finished run on data.npz."""
    save(tmp_path / "data.npz")
    folder, _ = run_train(*RUN, f"data.path={tmp_path}/data.npz", "max_samples=1000")
    return folder


CHANGES = {"x_train": 0.5, "y_train": 7, "x_val": 0.5, "y_val": 7, "x_test": 0.5, "y_test": 7}


def test_changed_data_are_refused_in_every_program(run_train, tmp_path, trained):
    before = everything(trained.path)
    for name, value in CHANGES.items():
        save(tmp_path / "data.npz", **{name: value})
        message = rf"^data: {name[2:]} data are not those that the run was trained with; restore the file .*[^\n]$"
        with pytest.raises(ConfigError, match=message):
            run_evaluate(trained.path, *(["task=latents"] if name[0] == "y" else []))
        for limit in (1000, 2000) if name in ("x_test", "y_train") else ():
            with pytest.raises(ConfigError, match=message):
                run_train(f"resume={trained.path}", f"max_samples={limit}", folder=trained.path)
            job = [*RUN, f"data.path={tmp_path}/data.npz", f"max_samples={limit}"]
            with pytest.raises(ConfigError, match=message):
                run_train(*job, folder=trained.path, is_job=True)
    assert everything(trained.path) == before
    save(tmp_path / "data.npz")
    run_evaluate(trained.path)
    run_train(*RUN, f"data.path={tmp_path}/data.npz", "max_samples=1000", folder=trained.path, is_job=True)


def test_row_that_is_appended_makes_other_splits(run_train, tmp_path):
    np.save(tmp_path / "x.npy", images())
    folder, _ = run_train(*RUN, f"data.path={tmp_path}/x.npy", "max_samples=1000")
    np.save(tmp_path / "x.npy", images(201))
    with pytest.raises(ConfigError, match=r"^data: train and val and test data are not those"):
        run_evaluate(folder.path)


def test_data_are_found_from_any_folder(run_train, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save("data.npz")
    folder, _ = run_train(*RUN, "data.path=data.npz", "paths.data=sets", "max_samples=1000")
    assert folder.config().data.path == str(tmp_path / "data.npz")
    assert folder.config().paths.data == str(tmp_path / "sets")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    run_evaluate(folder.path)
    run_train(f"resume={folder.path}", "max_samples=2000", folder=folder.path)


def test_moved_data_are_found_at_the_place_in_the_command(run_train, tmp_path, trained, monkeypatch):
    (tmp_path / "data.npz").rename(tmp_path / "moved.npz")
    save(tmp_path / "other.npz", x_test=0.5)
    with pytest.raises(
        ConfigError, match=r"data\.path: .*data\.npz does not exist; if the file was moved, add data\.path="
    ):
        run_evaluate(trained.path)
    with pytest.raises(ConfigError, match=r"^data: test data are not those"):
        run_evaluate(trained.path, f"data.path={tmp_path}/other.npz")
    monkeypatch.chdir(tmp_path)
    run_evaluate(trained.path, "data.path=moved.npz")
    assert json.loads((trained.path / "evaluation.json").read_text())["entries"]
    resume = [f"resume={trained.path}", "max_samples=2000", "data=array"]
    with pytest.raises(ConfigError, match=r"^data: test data are not those"):
        run_train(*resume, "data.path=other.npz", folder=trained.path)
    run_train(*resume, "data.path=moved.npz", folder=trained.path)
    assert trained.config().data.path == str(tmp_path / "moved.npz")
    assert trained.status()["samples"] == 2000
    job = [*RUN, "data.path=moved.npz", "max_samples=3000"]
    (tmp_path / "moved.npz").rename(tmp_path / "again.npz")
    run_train(*job[:-2], "data.path=again.npz", "max_samples=3000", folder=trained.path, is_job=True)
    assert trained.config().data.path == str(tmp_path / "again.npz")


def test_unused_place_of_data_is_an_error(run_train, tmp_path, trained):
    message = ": the data of .*run have no such setting; drop it$"
    with pytest.raises(ConfigError, match=f"^paths.data{message}"):
        run_evaluate(trained.path, f"paths.data={tmp_path}")
    with pytest.raises(ConfigError, match=f"^paths.data{message}"):
        run_train(f"resume={trained.path}", f"paths.data={tmp_path}", "max_samples=2000", folder=trained.path)
    digits, _ = run_train("model.encoder.hidden=[4]", "logger=none", "max_samples=500", folder=tmp_path / "digits")
    message = r"^data\.path: the data of .*digits have no such setting; drop it$"
    with pytest.raises(ConfigError, match=message):
        run_evaluate(digits.path, f"data.path={tmp_path}/data.npz")
    resume = [f"resume={digits.path}", "data=array", f"data.path={tmp_path}/data.npz"]
    with pytest.raises(ConfigError, match=message):
        run_train(*resume, "max_samples=1000", folder=digits.path)
    run_evaluate(tmp_path, f"data.path={tmp_path}/data.npz")  # one of two runs has such data


@pytest.mark.slow
def test_moved_file_is_named_without_the_data_set(run_train, tmp_path, trained, command):
    (tmp_path / "data.npz").rename(tmp_path / "moved.npz")
    ended = command("resume=run", "data.path=moved.npz", "max_samples=2000", "hydra.run.dir=run")
    assert ended.returncode == 0, ended.stderr
    assert trained.status()["samples"] == 2000

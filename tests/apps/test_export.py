"""A run becomes a folder to share."""

import json
import re

import numpy as np
import pytest
import torch
import yaml
from omegaconf import OmegaConf

import aevb
from aevb.apps.export import export
from aevb.config import conf_folder
from aevb.errors import ConfigError
from aevb.runs.evaluation import add_entry


def exported(run, **settings):
    config = OmegaConf.load(conf_folder() / "export.yaml")
    del config["defaults"], config["hydra"]
    config.run = str(run)
    export(OmegaConf.merge(config, settings))


@pytest.fixture
def trained(run_train, tmp_path):
    def train(*overrides):
        quick = ["max_samples=500", "logger=none", "callbacks.images=null", "model.encoder.hidden=[8]"]
        return run_train(*quick, f"paths.data={tmp_path}/secret", *overrides)[0]

    return train


def test_export_has_the_model_its_numbers_and_how_it_was_trained(trained, tmp_path, capsys):
    run = trained("data=digits", "model.latent_dim=3")
    exported(run.path, output=str(tmp_path / "out"))
    assert f'aevb.load("{tmp_path}/out")' in capsys.readouterr().out
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "README.md", "config.json", "model.safetensors", "samples.png"
    }  # fmt: skip
    vae, same = aevb.load_run(run.path), aevb.load(tmp_path / "out")
    assert all(torch.equal(weight, same.state_dict()[name]) for name, weight in vae.state_dict().items())
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"| test/elbo | {run.status()['results']['test/elbo']:.2f} |" in card
    assert "model.latent_dim=3" in card
    about = (tmp_path / "out" / "config.json").read_text()
    assert "secret" not in card + about  # where the data lie on this machine
    assert json.loads(about)["samples"] == 500


def test_card_has_the_estimates_of_the_weights_that_are_exported(trained, tmp_path):
    run, of = trained("data=digits"), {"estimator": "elbo", "split": "test", "datapoints": 9, "samples": 500}
    others = [of | {"value": -2.5, "checkpoint": "last"}, of | {"value": -3.5, "checkpoint": "best", "samples": 100}]
    for entry in (of | {"value": -1.5, "checkpoint": "best"}, *others):
        add_entry(run.path, "entries", entry | {"limit": entry["value"]})
    for checkpoint, value in (("best", "-1.50"), ("last", "-2.50")):
        exported(run.path, checkpoint=checkpoint, output=str(tmp_path / checkpoint))
        card = (tmp_path / checkpoint / "README.md").read_text()
        (line,) = [line for line in card.splitlines() if line.startswith("| elbo, 9 datapoints of test")]
        assert value in line


def test_vectors_and_own_parts_are_exported(trained, tmp_path):
    x = torch.randn(100, 5).numpy()
    np.save(tmp_path / "x.npy", x)
    run = trained("data=array", f"data.path={tmp_path}/x.npy", "model=gaussian", "data.batch_size=50")
    exported(run.path)
    assert (run.path / "exported" / "samples.png").is_file()
    assert str(tmp_path) not in (run.path / "exported" / "config.json").read_text()
    assert aevb.load(run.path / "exported").elbo(x[:, None, None]).shape == (100,)


@pytest.mark.parametrize(
    ("settings", "has_picture"),
    [
        (["model=conditional"], True),
        (["model=regression", "data=diabetes"], False),
        (["model=static", "model.step_dim=2", "data.sequences=true"], True),
    ],
    ids=["labels", "numbers", "sequences"],
)
def test_card_says_how_to_use_a_model_with_its_condition(trained, tmp_path, capsys, settings, has_picture):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 2, (60, 4, 3)).astype("float32"))
    of_file = ["data=array", f"data.path={tmp_path}/x.npy", "data.batch_size=20"] if "model=static" in settings else []
    run = trained(*of_file, *settings)
    exported(run.path, output=str(tmp_path / "out"))
    assert (tmp_path / "out" / "samples.png").is_file() == has_picture
    card = (tmp_path / "out" / "README.md").read_text()
    assert ("![Samples](samples.png)" in card) == has_picture
    (block,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    names = {}
    exec(block, names)
    assert len(names["x"]) == 16
    assert capsys.readouterr().out.splitlines()[-1].endswith("])")
    assert names["q"].batch_shape == (16,)


def test_card_of_a_run_from_python_names_the_settings_that_differ(tmp_path):
    settings = ["data=digits", "max_samples=500", "logger=none", "callbacks.images=null", "model.encoder.hidden=[8]"]
    config = aevb.compose([*settings, "schedule=cosine", f"paths.data={tmp_path}/x", f"hydra.run.dir={tmp_path}/run"])
    config.model.initialization = "xavier"
    run = aevb.train(config)
    exported(run)
    card = (run / "exported" / "README.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", card, re.DOTALL)
    assert yaml.safe_load(block) == {
        "model.encoder.hidden": [8],
        "model.decoder.hidden": [8],
        "model.initialization": "xavier",
        "schedule._target_": "torch.optim.lr_scheduler.CosineAnnealingLR",
        "schedule._partial_": True,
        "schedule.eta_min": 0.0,
        "max_samples": 500,
    }
    assert "```bash" not in card
    assert json.loads((run / "exported" / "config.json").read_text())["changed"] == yaml.safe_load(block)


def test_one_member_of_several_seeds_is_exported(trained, tmp_path):
    run = trained("data=digits", "seeds=2", "seed=3")
    exported(run.path, output=str(tmp_path / "out"), member=1)
    vae, same = aevb.load_run(run.path, member=1), aevb.load(tmp_path / "out")
    assert all(torch.equal(weight, same.state_dict()[name]) for name, weight in vae.state_dict().items())
    card = (tmp_path / "out" / "README.md").read_text()
    assert "seed 4" in card
    assert "not measured" in card  # by itself


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hub": "name"}, r"^hub must be <user>/<name>, got 'name'$"),
        ({"formats": ["onx"]}, r"^formats must be a list of .*onnx.*, got \['onx'\]"),
        ({"output": "/dev/null/x"}, r"^output: /dev/null/x cannot be written"),
    ],
)
def test_wrong_setting_is_one_line(settings, message, tmp_path, trained):
    run = trained("data=digits") if "output" in settings else tmp_path
    with pytest.raises(ConfigError, match=message):
        exported(getattr(run, "path", run), **settings)


def test_a_folder_that_is_no_run_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"is not a run folder: it has no \.hydra/config\.yaml$"):
        exported(tmp_path)
    assert [*tmp_path.iterdir()] == []

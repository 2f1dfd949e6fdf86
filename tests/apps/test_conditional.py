"""Runs of models that take conditions, from start to end."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import open_dict

from aevb import load_run
from aevb.apps.evaluate import evaluate
from aevb.errors import ConfigError

from ..compare import weights

CONF = str(Path(__file__).parents[2] / "conf")
SHORT = ["logger=none", "model.encoder.hidden=[20]", "optimizer=adam", "callbacks.images=null"]
M2 = ["model=semi_supervised", "objective=semi_supervised", "data.num_labels=20"]


def test_a_run_given_labels_is_loaded_and_has_pictures_of_each(run_train, tmp_path):
    images = ["callbacks.images.num_samples=20", "callbacks.images.num_reconstructions=4"]
    folder, _ = run_train(*SHORT[:3], *images, "model=conditional", "max_samples=2000", folder=tmp_path / "run")
    vae = load_run(folder.path)
    assert vae.condition_shape == (10,)
    assert vae.sample(3, c=torch.eye(10)[:3]).shape == (3, 1, 8, 8)
    with pytest.raises(ValueError, match=r"^the model needs a condition of shape \[10\]"):
        vae.sample(3)
    names = {path.name.partition("_")[2] for path in folder.images.glob("*.png")}
    assert names == {"samples.png", "samples_drawn.png", "reconstructions.png", "latents.png"}


@pytest.mark.parametrize("settings", [["model=conditional"], M2], ids=["conditional", "semi_supervised"])
def test_a_resumed_run_is_the_uninterrupted_one(run_train, tmp_path, settings):
    whole, _ = run_train(*SHORT, *settings, "max_samples=4000", folder=tmp_path / "whole")
    part, _ = run_train(*SHORT, *settings, "max_samples=2100", folder=tmp_path / "part")
    run_train(f"resume={part.path}", "max_samples=4000", folder=part.path)
    assert all(torch.equal(value, weights(part)[name]) for name, value in weights(whole).items())


def test_data_whose_labels_are_hidden_are_not_scored(run_train, tmp_path):
    folder, _ = run_train(*SHORT, *M2, "max_samples=1000", folder=tmp_path / "run")
    GlobalHydra.instance().clear()
    with initialize_config_dir(CONF, version_base="1.3"):
        config = compose("evaluate", [f"run={folder.path}", "split=train", "limit=50", "estimators=[elbo]"])
    with pytest.raises(ConfigError, match=r"^split=train: c must be finite, but is NaN for \d+ of 50 datapoints"):
        evaluate(config)
    with open_dict(config):
        config.split, config.task = "test", {"_target_": "aevb.tasks.Layers"}
    with pytest.raises(ConfigError, match=r"^task=layers does not support models that take a condition"):
        evaluate(config)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model=conditional", "data=counts"], r"^data\.condition=labels needs labels, and the data have none$"),
        (["data=bimodal"], r"^the model takes no condition, but one is given; model=conditional takes one, "),
        (
            ["model=conditional", "data=diabetes", "data.condition=labels"],
            r"^data\.condition must be null: the data have",
        ),
        (["model=conditional", "data.condition=null"], r"^data\.condition must be labels: the model takes a condition"),
        ([*M2, "data.num_labels=2000"], r"^num_labels must be at most 1,397, the size of the training set, got 2,000$"),
        (["model=conditional", "+data.num_labels=20"], r"are hidden, which SGVB cannot use; use objective=semi_sup"),
        (["model=semi_supervised"], r"^objective SGVB does not train the classifier q\(y\|x\) of the model; use obj"),
        (["objective=semi_supervised", "model=conditional"], r"needs a model with a classifier: model=semi_superv"),
        (["objective=semi_supervised"], r"^data\.labels_per_batch needs data\.num_labels, .* as model=semi_supervised"),
        ([*M2, "data.labels_per_batch=100"], r"^data\.labels_per_batch must be below data\.batch_size, 100"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(run_train, settings, message):
    with pytest.raises(ConfigError, match=message) as caught:
        run_train(*SHORT, *settings)
    assert "\n" not in str(caught.value)

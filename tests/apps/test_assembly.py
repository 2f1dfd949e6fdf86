"""Parts that do not fit each other are refused before training."""

from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf
from torch import nn

from aevb.apps.assembly import build_module, check_fit, fill_in
from aevb.apps.compose import compose
from aevb.errors import ConfigError
from aevb.runs.data import load_data
from aevb.runs.folder import RunFolder

TINY = ["max_samples=2000", "model.encoder.hidden=[16]", "logger=none"]
"""A run of about a second."""


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("objective.free_bits=0.1", "objective.free_bits_per=dimension needs a posterior and a prior that factorize"),
        ("objective.kl=analytic", "objective.kl=analytic: no closed form is known for GaussianFlow and Normal"),
    ],
)
def test_an_objective_that_does_not_suit_the_model_is_refused_before_training(run_train, override, message, tmp_path):
    with pytest.raises(ConfigError, match=f"^{message}"):
        run_train(*TINY, "model/posterior=iaf", override)
    folder = RunFolder(tmp_path / "run")
    assert folder.status()["state"] == "failed"
    assert "Traceback" not in folder.log_file.read_text()


def test_shapes_of_the_data_reach_the_parts_of_a_stored_model():
    parts = {"encoder": {"data_shape": None}, "prior": {"condition_shape": None, "data_shape": [2]}}
    model = {"data_shape": None, "condition_shape": None, "likelihood": {"bounded": "auto"}, **parts}
    config = OmegaConf.create({"model": model, "data": {"shape": None}})
    assert fill_in(config, SimpleNamespace(shape=(1, 8, 8), condition_shape=(10,), value_range=(0.0, 2.0)))
    assert config.data.shape == config.model.encoder.data_shape == config.model.data_shape == [1, 8, 8]
    assert config.model.prior == {"condition_shape": [10], "data_shape": [2]}
    assert config.model.likelihood.bounded is False


def test_the_check_before_training_leaves_running_averages_alone():
    config = compose(["logger=none"])
    data = load_data(config)
    fill_in(config, data)
    module = build_module(config)
    norm = nn.BatchNorm1d(module.vae.q.encoder.out_shape[0])
    module.vae.q.encoder.layers.append(norm)
    check_fit(config, module, data)
    assert norm.training
    assert norm.num_batches_tracked == 0


def test_bad_trainer_leaves_no_wandb_run_open(run_train, tmp_path):
    with pytest.raises(ConfigError, match=r"^trainer\.accelerator must be"):
        run_train(*TINY, "logger=wandb", "trainer.accelerator=abacus")
    assert not (tmp_path / "run" / "wandb").exists()

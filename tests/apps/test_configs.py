"""Every file in conf/ composes, and what it names can be built."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from aevb.apps.assembly import build_module
from aevb.config import instantiate, require_allowed
from aevb.training.module import evaluation

CONF = Path(__file__).parents[2] / "conf"


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


CHOICES = [
    f"{group}={option}"
    for group in (
        "model",
        "model/encoder",
        "model/decoder",
        "model/posterior",
        "model/prior",
        "model/likelihood",
        "objective",
        "optimizer",
        "schedule",
        "trainer",
        "callbacks",
        "logger",
        "debug",
        "data",
    )
    for option in options(group)
]


PARTNERS = {
    **{name: name for name in ("log_normal", "gamma", "beta", "dirichlet")},
    "categorical": "concrete",
    "concrete": "categorical",
    "codes": "quantized",
    "quantized": "codes",
    "power_spherical": "uniform_sphere",
    "uniform_sphere": "power_spherical",
}
"""Of posteriors and priors over constrained values, those of the same support."""


@pytest.mark.parametrize("choice", CHOICES)
def test_choice_composes_and_can_be_built(choice, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    overrides = [choice, f"paths.run={tmp_path}", f"paths.data={tmp_path}"]
    if "path: ???" in (CONF / f"{choice.replace('=', '/')}.yaml").read_text():
        overrides += ["data.path=own", "data.shape=[1,8,8]"]
    if choice == "data=sprites":
        overrides += ["data.shape=[1,32,32]"]  # which a run fills in
    if choice == "data=huggingface":
        overrides += ["data.name=own", "data.shape=[1,8,8]"]
    if choice in ("model=deep_markov", "model=static", "model=storn"):
        overrides += ["data=mnist_rows"]
    if choice in ("model=melody", "model=music_vae"):
        overrides += ["data=melodies"]
    if "data=melodies" in [choice, *overrides]:
        overrides += ["data.shape=[32]"]
    if choice in ("model=conditional", "model=regression", "model=semi_supervised"):
        overrides += ["model.condition_shape=[10]"]
    if choice == "model/prior=conditional_gaussian":
        overrides += ["model=conditional", "model.condition_shape=[10]"]
    group, _, name = choice.partition("=")
    if name in PARTNERS and group in ("model/posterior", "model/prior"):
        overrides += [f"{'model/prior' if group == 'model/posterior' else 'model/posterior'}={PARTNERS[name]}"]
        overrides += ["model.latent_dim=20"] if "concrete" in (name, PARTNERS[name]) else []
        overrides += ["model.latent_dim=64", "model.encoder.hidden=[16]"] if name in ("codes", "quantized") else []
    if choice == "model=semi_supervised":
        overrides += ["objective=semi_supervised"]
    if choice == "objective=semi_supervised":
        overrides += ["model=semi_supervised", "model.condition_shape=[10]"]
    if choice == "data=encoded":
        overrides += ["data.run=somewhere", "data.shape=[1,1,5]"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides)
    require_allowed(config)
    module = build_module(config)
    module.objective.num_data = 1000
    assert all(optimizer.param_groups for optimizer in module.configured_optimizers())
    module.configure_optimizers()
    x = torch.bernoulli(torch.full((3, *config.data.shape), 0.5))
    vae = module.vae
    c = None if vae.condition_shape is None or vae.condition_is_optional else torch.eye(10)[:3]
    assert evaluation(module, x, c).elbo.isfinite().all()
    if "logger" in choice:
        assert [instantiate(node) for node in config.logger.values()] or choice == "logger=none"
    if "callbacks" in choice:
        assert all(instantiate(node, **folder_of(name, tmp_path)) for name, node in config.callbacks.items())
    assert instantiate(config.data).batch_size == config.data.batch_size


def folder_of(callback: str, path: Path) -> dict[str, str]:
    return {"folder": str(path)} if callback in ("checkpoint", "images") else {}


def test_settings_that_differ_by_data_set_come_with_it():
    found = {}
    for data in ("digits", "mnist", "freyface"):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("train", [f"data={data}"])
        found[data] = (config.model.encoder.hidden, config.model.decoder.hidden, config.max_samples)
    assert found["mnist"][:2] == ([500], [500])
    assert found["freyface"][:2] == ([200], [200])
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", ["data=mnist", "model.encoder.hidden=[400,200]", "trainer.max_epochs=3"])
    assert config.model.decoder.hidden == [200, 400]
    assert config.max_samples is None

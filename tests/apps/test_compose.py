"""Configurations without `hydra.main`."""

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

import aevb
from aevb.config import conf_folder
from aevb.errors import ConfigError


def test_configuration_is_that_of_the_program(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overrides = ["model=gaussian", "data=freyface", "model.latent_dim=3", "paths.data=d"]
    config = aevb.compose(overrides)
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        expected = hydra_compose("train", overrides)
    expected.paths.run = config.paths.run = "somewhere"
    assert OmegaConf.to_container(config, resolve=True) == OmegaConf.to_container(expected, resolve=True)
    assert [*tmp_path.iterdir()] == []  # the run folder is made when the run begins


def test_configuration_is_composed_beside_another_program_of_hydras():
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        mine = GlobalHydra.instance().hydra
        assert aevb.compose(["seed=3"]).seed == 3
        assert GlobalHydra.instance().hydra is mine
        assert hydra_compose("train").seed == 0
    assert not GlobalHydra.instance().is_initialized()


def test_options_of_ones_own_are_found(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("defaults: [gaussian, _self_]\ninitialization_std: 0.7\n")
    config = aevb.compose(["data=array", "data.path=pyproject.toml", "model=mine"], config_dir=tmp_path)
    assert config.model.initialization_std == 0.7


@pytest.mark.parametrize(
    ("text", "override", "message"),
    [
        ("", "model=min", "model: there is no 'min'; did you mean mine?"),
        (
            "defaults: [gausian]\n",
            "model=mine",
            "In 'model/mine': Could not load 'model/gausian'. Config search path: ",
        ),
        ("a: [\n", "model=mine", "while parsing a flow "),
        (
            "\tb: 1\n",
            "model=mine",
            "while scanning for the next token found character '\\t' that cannot start any token",
        ),
        (
            "seed: 3\n",
            "experiment=mine",
            "experiment is a group of presets, whose files start with the line: # @package",
        ),
    ],
)
def test_wrong_option_of_ones_own_is_one_line(tmp_path, text, override, message):
    for group in ("model", "experiment"):
        (tmp_path / group).mkdir()
        (tmp_path / group / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        aevb.compose([override], config_dir=tmp_path)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_a_missing_folder_of_options_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"^--config-dir: .*/nowhere is not a folder$"):
        aevb.compose(["model=mine"], config_dir=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model=gausian", "model: there is no 'gausian'; did you mean gaussian?"),
        ("seed=-1", "seed must be a whole number from 0 to 4,294,967,295, got -1"),
        ("seed=1,2", "seed: seed=1,2 gives several values; add -m for a sweep over them, or write a list as seed=[…]"),
        ("moddel.latent_dim=1", "moddel.latent_dim is not a setting of train.py; did you mean model.latent_dim?"),
        ("latent_dim", "latent_dim: an argument has the form key=value"),
    ],
)
def test_wrong_setting_is_one_line(override, message):
    with pytest.raises(ConfigError) as error:
        aevb.compose([override])
    assert str(error.value) == message

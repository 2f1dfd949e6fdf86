"""Settings of the heads: their YAML files, and one clear line for every bad one."""

import inspect
import re
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from aevb import likelihoods

MODELS = Path(__file__).parents[2] / "conf" / "model"


def file_name(class_name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", class_name).lower() + ".yaml"


def test_every_head_is_tested() -> None:
    of_sequences = {"PerStep", "Recurrent", "RecurrentTokens"}  # parts of models of their own
    named = set(likelihoods.__all__) - of_sequences
    from_package = {name for name in named if not inspect.isabstract(getattr(likelihoods, name))}
    files = {path.name for path in (MODELS / "likelihood").glob("*.yaml")}
    assert files == {file_name(name) for name in from_package}


def test_yaml_makes_the_head_and_shows_every_default(case: Any) -> None:
    config = OmegaConf.load(MODELS / "likelihood" / file_name(case.name))
    head = hydra.utils.instantiate(config)((3,), (1, 2, 2))
    assert type(head).__name__ == case.name
    parameters = inspect.signature(type(head)).parameters
    defaults = {name: p.default for name, p in parameters.items() if name not in ("in_shape", "data_shape")}
    assert {key: value for key, value in config.items() if not str(key).startswith("_")} == defaults


def test_a_complete_model_is_named_after_the_head(case: Any) -> None:
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(MODELS), version_base="1.3"):
        config = hydra.compose(file_name(case.name).removesuffix(".yaml"))
    assert config.likelihood._target_ == f"aevb.likelihoods.{case.name}"
    assert {"encoder", "posterior", "prior", "decoder", "likelihood"} < set(config)


BAD = [
    ("min_scale", ["Gaussian", "Laplace", "Logistic", "StudentT", "OptimalGaussian"], 0, "positive number"),
    ("min_scale", ["GaussianPerValue", "ScalarGaussian", "DiscretizedLogisticMixture"], -1.0, "positive number"),
    ("min_scale", ["DiscretizedLogistic", "GaussianUniformMixture"], 0, "positive number"),
    ("initial_scale", ["GaussianPerValue", "ScalarGaussian"], 0.0, "positive number"),
    ("sigma", ["FixedGaussian"], 0, "positive number"),
    ("uniform_weight", ["GaussianUniformMixture"], 0, "between 0 and 1"),
    ("uniform_weight", ["GaussianUniformMixture"], 1, "between 0 and 1"),
    ("degrees_of_freedom", ["StudentT"], 1, "between 1 and 1000"),
    ("degrees_of_freedom", ["StudentT"], 1e6, "between 1 and 1000"),
    ("levels", ["DiscretizedLogistic", "DiscretizedLogisticMixture", "Categorical"], 1, "at least 2"),
    ("num_components", ["DiscretizedLogisticMixture"], 0, "whole number from 1"),
    ("dispersion", ["NegativeBinomial"], 0, "between 0.01 and 1000"),
]


@pytest.mark.parametrize(
    ("name", "key", "value", "wanted"),
    [(name, key, value, wanted) for key, names, value, wanted in BAD for name in names],
)
def test_bad_settings_are_refused_in_one_line(name: str, key: str, value: object, wanted: str) -> None:
    with pytest.raises(ValueError, match=rf"^{key} must be [^\n]*{wanted}[^\n]*, got [^\n]*$"):
        getattr(likelihoods, name)((3,), (1, 2, 2), **{key: value})


def test_each_setting_has_a_type(case: Any) -> None:
    head = getattr(likelihoods, case.name)
    for key in inspect.signature(head).parameters.keys() - {"in_shape", "data_shape"}:
        with pytest.raises(ValueError, match=rf"^{key} must be .*, got \{{'no': 1\}}$"):
            head((3,), (1, 2, 2), **{key: {"no": 1}})

"""Names, messages and resolvers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from aevb.config import ConfigError, folder_name, instantiate

OVERRIDES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=300)


@given(OVERRIDES, OVERRIDES)
def test_folder_names_are_short_safe_and_tell_jobs_apart(a, b):
    assert len(folder_name(a).encode()) <= 4 * 120
    assert "/" not in folder_name(a)
    assert "\0" not in folder_name(a)
    if a.replace("/", ".") != b.replace("/", "."):
        assert folder_name(a) != folder_name(b)


def test_plain_overrides_stay_readable():
    assert folder_name("data=mnist,model/prior=vamp,seed=1") == "data=mnist,model.prior=vamp,seed=1"


def test_resolvers():
    config = OmegaConf.create(
        {
            "list": [1, 2, 3],
            "backwards": "${reverse:${list}}",
            "epochs": None,
            "samples": "${unless:${epochs},100}",
        }
    )
    assert config.backwards == [3, 2, 1]
    assert config.samples == 100
    config.epochs = 2
    assert config.samples is None


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"_target_": "aevb.likelihoods.Nothing"}, "model.likelihood: "),
        ({"_target_": "aevb.priors.StudentT", "latent_dim": 2, "df": -1}, "model.prior.df must be"),
        ({"_target_": "aevb.priors.StandardNormal", "latent": 2}, "model.likelihood: "),
        ({"_target_": "aevb.priors.StandardNormal", "latent_dim": "${nothing}"}, "model.likelihood: "),
    ],
)
def test_error_is_one_line_that_starts_with_the_key(config, message):
    root = OmegaConf.create({"model": {"likelihood": config, "prior": None}})
    with pytest.raises(ConfigError) as error:
        instantiate(root.model.likelihood)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)

"""Names, messages and resolvers."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from aevb.config import ConfigError, folder_name, instantiate

OVERRIDES = st.text(st.characters(codec="utf-8"), max_size=300) | st.text("a./@~", max_size=4)


@given(OVERRIDES)
def test_folder_names_are_good_for_any_file_system(text):
    name = folder_name(text)
    assert 1 <= len(name) <= 120
    assert set(name) <= set(string.ascii_letters + string.digits + "_.,=+-@~")
    assert name not in (".", "..")


@given(OVERRIDES, OVERRIDES)
@example("model/prior=vamp", "model.prior=vamp")
@example("model/prior=vamp", "model@prior=vamp")
@example("a b", "a~b")
@example("a" * 120, "a" * 121)
def test_folder_names_tell_jobs_apart(a, b):
    names = {text: folder_name(text) for text in (a, b)}
    names |= {name: folder_name(name) for name in names.values()}  # a name is a text, too
    assert len(set(names.values())) == len(names)


def test_plain_overrides_stay_readable():
    assert folder_name("data=mnist,model/prior=vamp,seed=1") == "data=mnist,model@prior=vamp,seed=1"
    assert folder_name("optimizer.lr=0.01,data.name='a b'").startswith("optimizer.lr=0.01,data.name=~a~b~~")


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

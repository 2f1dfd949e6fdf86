"""Names, messages and resolvers."""

import pytest
from omegaconf import OmegaConf

from aevb.config import instantiate, require_allowed
from aevb.errors import ConfigError


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
        (
            {"_target_": "aevb.priors.StudentT", "latent_dim": 2, "degrees_of_freedom": -1},
            "model.likelihood.degrees_of_freedom must be",
        ),
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


def test_target_behind_an_interpolation_is_found():
    config = OmegaConf.create({"a": {"b": "${hidden}"}, "hidden": {"c": [{"_target_": "os.system"}]}})
    with pytest.raises(ConfigError, match=r"names os.system"):
        require_allowed(config.a)


def test_targets_that_users_have_are_allowed():
    allowed = [
        "aevb.likelihoods.Bernoulli",
        "pytorch_lightning.Trainer",
        "pytorch_lightning.callbacks.EarlyStopping",
        "pytorch_lightning.loggers.TensorBoardLogger",
        "torch.optim.Adam",
    ]
    require_allowed(OmegaConf.create([{"_target_": target} for target in allowed]))

"""The files under conf/data name what there is, and all of it."""

import inspect
from pathlib import Path

import hydra
import numpy as np
import pytest
from omegaconf import OmegaConf

from aevb.data import InMemoryDataModule

CONDITIONS = {"condition", "num_labels", "labels_per_batch"}
"""Settings that conf/condition brings, for models that take a condition."""
ARRAYS = {"y", "c"}
"""Arguments that are no settings."""
CONF = Path(__file__).parents[2] / "conf" / "data"


def config(name: str, **values):
    """One file of conf/data and those it is based on, with what the rest of the configuration would give it."""
    file = OmegaConf.load(CONF / f"{name}.yaml")
    names = [base for base in file.pop("defaults", []) if isinstance(base, str)]  # not what it chooses of other groups
    bases = [config(base) for base in names if base != "_self_"]
    return OmegaConf.merge(*bases, file, {"seed": 3, "paths": {"data": "somewhere"}}, values)


@pytest.mark.parametrize("name", sorted(path.stem for path in CONF.glob("*.yaml")))
def test_a_configuration_names_every_argument(name):
    data = config(name).data
    cls = hydra.utils.get_class(data._target_)
    arguments = {
        parameter
        for part in cls.__mro__[: cls.__mro__.index(InMemoryDataModule) + 1]
        for parameter in inspect.signature(part).parameters
        if parameter not in ("kwargs", "y", "lengths")  # which are of an array that is given from Python
    }
    assert set(data) - {"_target_", *CONDITIONS} == arguments - CONDITIONS - ARRAYS
    assert CONF.joinpath(f"{name}.yaml").read_text().startswith("# @package _global_\n")


@pytest.mark.parametrize("name", ["digits", "mnist", "freyface"])
def test_a_data_set_is_made_from_its_configuration(name):
    dm = hydra.utils.instantiate(config(name).data)
    assert dm.seed == 3
    assert name == "digits" or "somewhere" in str(dm.folder)
    assert dm.shape == {"digits": (1, 8, 8), "mnist": (1, 28, 28), "freyface": (1, 28, 20)}[name]


def test_the_digits_are_read_by_their_configuration():
    dm = hydra.utils.instantiate(config("digits", data={"train_size": 300, "binarization": "dynamic"}).data)
    dm.setup()
    assert dm.train_size == 300


def test_an_array_is_read_by_its_configuration(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((200, 5, 4, 3)))
    dm = hydra.utils.instantiate(config("array", data={"path": str(tmp_path / "x.npy")}).data)
    assert dm.shape == (3, 5, 4)
    assert [len(split.x) for split in dm.splits] == [160, 20, 20]
    with pytest.raises(Exception, match=r"Missing mandatory value: data\.path"):
        hydra.utils.instantiate(config("array").data)

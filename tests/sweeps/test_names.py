"""Folders by what a command says."""

import string
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf, open_dict

from aevb.sweeps.names import earlier_names, folder_name, job_name, sweep_name, varying

ROOT = Path(__file__).parents[2]

OVERRIDES = st.text(st.characters(codec="utf-8"), max_size=300) | st.text("a./@~", max_size=4)


@given(OVERRIDES)
def test_folder_names_are_valid_on_any_file_system(text):
    name = folder_name(text)
    assert 1 <= len(name) <= 120
    assert set(name) <= set(string.ascii_letters + string.digits + "_.,=+-@~")
    assert name not in (".", "..")


@given(OVERRIDES, OVERRIDES)
@example("model/prior=vamp", "model.prior=vamp")
@example("model/prior=vamp", "model@prior=vamp")
@example("a b", "a~b")
@example("a" * 120, "a" * 121)
def test_different_jobs_have_different_folder_names(a, b):
    names = {text: folder_name(text) for text in (a, b)}
    names |= {name: folder_name(name) for name in names.values()}  # a name is a text, too
    assert len(set(names.values())) == len(names)


def test_plain_overrides_are_kept_in_names():
    assert folder_name("data=mnist,model/prior=vamp,seed=1") == "data=mnist,model@prior=vamp,seed=1"
    assert folder_name("optimizer.lr=0.01,data.name='a b'").startswith("optimizer.lr=0.01,data.name=~a~b~~")


COMMAND = ["model=bernoulli,gaussian", "model.latent_dim=2,5", "max_samples=2000", "logger=none"]


def test_sweep_name_has_varying_and_fixed_keys():
    name = "model+model.latent_dim,max_samples=2000"
    assert sweep_name(None, None, COMMAND, None) == name
    assert sweep_name(None, None, [*reversed(COMMAND), "sweep.retry_failed=false"], None) == name
    assert sweep_name(None, None, [*COMMAND, "seed=1"], None) != name
    assert sweep_name("mine", None, COMMAND, None) == "mine"
    assert sweep_name(None, None, [], None) == "default"
    assert sweep_name(None, "figure2", ["sweep=figure2", "max_samples=9"], {"seed": "1,2"}) == "figure2,max_samples=9"
    assert sweep_name(None, None, ["max_samples=9"], {"seed": "1,2"}) == "seed,max_samples=9"


@pytest.mark.parametrize("value", ["1,2", "range(3)", "choice(1,2)", "interval(0,1)"])
def test_keys_that_vary(value):
    assert varying([f"seed={value}", "max_samples=3"], None) == ["seed"]
    assert varying(["max_samples=3"], {"seed": value}) == ["seed"]
    assert varying(["seed=3"], {"seed": value}) == ["seed"]


def test_job_name_has_the_varying_keys():
    command = ["model=gaussian", "model.latent_dim=2", "model/prior=vamp", "seed=1"]
    assert job_name(command, ["model.latent_dim", "model"]) == "model=gaussian,model.latent_dim=2"
    assert job_name(command, ["model/prior"]) == "model@prior=vamp"
    assert job_name(["seed=1", "max_samples=2"], []) == "max_samples=2,seed=1"


def test_part_of_a_preset_names_its_jobs_as_the_whole_does():
    params = {"seed": "1,2", "model.latent_dim": "2,5"}
    whole, part = varying([], params), varying(["model.latent_dim=5"], params)
    job = ["model.latent_dim=5", "seed=1"]
    assert job_name(job, part) == job_name(job, whole) == "model.latent_dim=5,seed=1"


def test_job_takes_the_settings_of_the_whole_command():
    def composed(*overrides):
        return compose("train", list(overrides), return_hydra_config=True)

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        command, job = composed("max_samples=9"), composed("max_samples=9", "seed=2")
    with open_dict(command):
        command.hydra.sweeper.params = {"seed": "1,2"}
    folder = command.hydra.sweep.dir, command.hydra.sweep.subdir
    OmegaConf.copy_cache(command, job)  # as Hydra does
    assert (job.hydra.sweep.dir, job.hydra.sweep.subdir) == (folder[0], "seed=2")
    assert folder[0] == "outputs/sweeps/seed,max_samples=9"


@pytest.mark.parametrize(
    ("earlier", "now"),
    [
        (["seed=1"], ["seed=1,2"]),
        (["model.latent_dim=2", "max_samples=9", "logger=none"], ["model.latent_dim=2,5", "max_samples=9"]),
        (["model=gaussian", "seed=1,2"], ["model=gaussian,beta", "seed=1,2"]),
        (["model=gaussian", "seed=1"], ["model=gaussian,beta", "seed=1,2"]),
    ],
)
def test_job_of_a_single_value_is_found_by_a_sweep_of_several(earlier, now):
    def first(command):
        return [override.split(",")[0] for override in command]

    names = sweep_name(None, None, earlier, None), job_name(first(earlier), varying(earlier, None))
    assert names in list(earlier_names(None, first(now), varying(now, None)))
    other = [*now, "optimizer.lr=0.5"]
    assert names not in list(earlier_names(None, first(other), varying(other, None)))

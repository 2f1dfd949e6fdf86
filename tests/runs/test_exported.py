"""Exported models: what comes with aevb, and folders of unknown origin."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import aevb
from aevb.errors import ConfigError
from aevb.runs.exported import CONFIG, WEIGHTS, ZOO, write

FOLDERS = sorted(ZOO.iterdir())


@pytest.fixture
def exported(tmp_path) -> Path:
    """A copy of a model that comes with aevb."""
    vae = aevb.load("digits")
    write(tmp_path / "mine", vae, json.loads((ZOO / "digits" / CONFIG).read_text()))
    return tmp_path / "mine"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_models_that_come_with_aevb_are_small_and_whole(folder):
    assert sum(file.stat().st_size for file in folder.iterdir()) < 1_000_000
    card, about = (folder / "README.md").read_text(), json.loads((folder / CONFIG).read_text())
    assert f'aevb.load("{folder.name}")' in card
    assert "aevb train" in card
    assert about["date"] in card
    assert f"| test/elbo | {about['results']['test/elbo']:.2f} |" in card
    vae = aevb.load(folder.name)
    assert vae.sample(3).shape == (3, *vae.p.data_shape)
    assert (folder / "samples.png").is_file()


def test_model_reaches_the_numbers_on_its_card():
    data = aevb.compose(["data=digits"]).data
    module = aevb.config.instantiate(data)
    x = module.examples("test", 200).x
    expected = json.loads((ZOO / "digits" / CONFIG).read_text())["results"]["test/elbo"]
    torch.manual_seed(0)
    assert float(aevb.load("digits").elbo(x, 100).mean()) == pytest.approx(expected, abs=0.1)


def test_folder_gives_the_model_that_was_written(exported):
    vae, same = aevb.load("digits"), aevb.load(exported)
    assert not same.training
    for (name, weight), (other, copy) in zip(vae.state_dict().items(), same.state_dict().items(), strict=True):
        assert name == other
        assert torch.equal(weight, copy)


class Exploit:
    def __reduce__(self):
        return Path.touch, (Path("executed"),)


def change(folder: Path, **settings) -> None:
    about = json.loads((folder / CONFIG).read_text())
    about["model"] |= settings
    (folder / CONFIG).write_text(json.dumps(about))


HOSTILE = {
    "pickle": (lambda f: (f / WEIGHTS).write_bytes(pickle.dumps(Exploit())), "is damaged"),
    "torch.save": (lambda f: torch.save({"a": Exploit()}, f / WEIGHTS), "is damaged"),
    "other weights": (lambda f: save_file({"a": torch.zeros(3)}, f / WEIGHTS), "does not fit the model"),
    "truncated": (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:5000]), "is damaged"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), "cannot be read: No such file"),
    "a call": (lambda f: change(f, likelihood={"_target_": "os.system", "command": "touch executed"}), "not on the"),
    "interpolation": (lambda f: change(f, latent_dim="${oc.env:HOME}"), "is an interpolation"),
    "a huge model": (lambda f: change(f, encoder={"_target_": "aevb.networks.MLPEncoder", "_partial_": True,
                                                  "hidden": [12_000, 12_000]}), "larger than its checkpoint"),
    "no JSON": (lambda f: (f / CONFIG).write_text("{"), "cannot be read"),
    "no model": (lambda f: (f / CONFIG).write_text("{}"), "describes no model"),
    "link": (lambda f: ((f / WEIGHTS).unlink(), (f / WEIGHTS).symlink_to("/etc/passwd")), "leads out of"),
}  # fmt: skip


@pytest.mark.parametrize("attack", HOSTILE)
def test_hostile_folder_is_refused_in_one_line(attack, exported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepare, message = HOSTILE[attack]
    prepare(exported)
    with pytest.raises(ConfigError, match=message) as error:
        aevb.load(exported)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "executed").exists()


def test_weights_that_are_not_finite_are_refused(exported):
    vae = aevb.load(exported)
    with torch.no_grad():
        next(vae.parameters())[0] = float("nan")
    write(exported, vae, json.loads((exported / CONFIG).read_text()))
    with pytest.raises(ConfigError, match="not finite"):
        aevb.load(exported)


def test_unknown_name_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"^there is no exported model digit: .*; did you mean digits\?$"):
        aevb.load("digit")
    (tmp_path / ".hydra").mkdir()
    with pytest.raises(ConfigError, match=r"is a run folder: load it by aevb\.load_run, or export it by"):
        aevb.load(tmp_path)

"""Loading the model of a run, and what is refused."""

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

import aevb
from aevb.errors import ConfigError


def test_load_run(folder):
    vae = aevb.load_run(folder.path)
    assert not vae.training
    assert vae.sample(2).shape == (2, 1, 4, 4)


def test_no_run(tmp_path):
    with pytest.raises(ConfigError, match=r"is not a run folder: it has no .hydra/config.yaml"):
        aevb.load_run(tmp_path)


def test_missing_checkpoint(folder):
    with pytest.raises(ConfigError, match=r"has no checkpoints/last.ckpt; its state is running$"):
        aevb.load_run(folder.path, checkpoint="last")
    folder.write_status(state="failed", error="the loss is nan")
    with pytest.raises(ConfigError, match=r"has no checkpoints/last.ckpt; its state is failed: the loss is nan$"):
        aevb.load_run(folder.path, checkpoint="last")
    with pytest.raises(ConfigError, match="must be best or last, got 'first'"):
        aevb.load_run(folder.path, checkpoint="first")


def test_damaged_checkpoint(folder):
    whole = folder.best_checkpoint.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"no checkpoint"):
        folder.best_checkpoint.write_bytes(damaged)
        with pytest.raises(ConfigError, match=r"best.ckpt is damaged") as error:
            aevb.load_run(folder.path)
        assert "\n" not in str(error.value)


def test_checkpoint_of_another_model(folder):
    config = folder.config()
    config.model.latent_dim = 3
    folder.write_config(config)
    with pytest.raises(ConfigError, match="does not fit the model"):
        aevb.load_run(folder.path)


class Exploit:
    """Unpickling it leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def test_checkpoint_is_not_unpickled(folder, tmp_path):
    trace = tmp_path / "executed"
    torch.save({"state_dict": Exploit(trace), "samples": 0}, folder.best_checkpoint)
    with pytest.raises(ConfigError, match="is damaged"):
        aevb.load_run(folder.path)
    assert not trace.exists()


def test_damaged_config(folder):
    folder.config_file.write_text("model: [")
    with pytest.raises(ConfigError, match="cannot be read") as error:
        aevb.load_run(folder.path)
    assert "\n" not in str(error.value)


FORBIDDEN = [
    "os.system",
    "builtins.eval",
    "subprocess.Popen",
    "aevb.runs.find.os.system",  # spelled as ours, resolves to posix.system
    "aevb.runs.load.load_run",  # could be told to allow more
    "aevb.config.instantiate",
    "aevb.files.atomic_write",
    "torch.load",
    "torch.hub.load",
    "torch.optim.lr_scheduler.warnings.warn",
    "pytorch_lightning.utilities.model_helpers.importlib.import_module",
    "aevb.nothing.there",
    "aevb",
]


@pytest.mark.parametrize("target", FORBIDDEN)
@pytest.mark.parametrize("place", ["model", "model.likelihood", "model.encoder"])
def test_only_allowed_classes_are_instantiated(folder, target, place):
    config = folder.config()
    OmegaConf.update(config, f"{place}._target_", target)
    folder.write_config(config)
    with pytest.raises(ConfigError, match="not on the list of what may be instantiated"):
        aevb.load_run(folder.path)


def test_own_module_can_be_allowed(folder, tmp_path, monkeypatch):
    (tmp_path / "my_heads.py").write_text(
        "from aevb.likelihoods import Bernoulli\n\nclass Mine(Bernoulli):\n    'A head of my own.'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = folder.config()
    config.model.likelihood._target_ = "my_heads.Mine"
    folder.write_config(config)
    with pytest.raises(ConfigError, match=r"allow=\[my_heads\]"):
        aevb.load_run(folder.path)
    vae = aevb.load_run(folder.path, allow=["my_heads"])
    assert type(vae.p.head).__name__ == "Mine"


@pytest.mark.parametrize("target", ["aevb.model.build", "aevb.vae.build"])
def test_run_of_version_0_1_is_refused_in_one_line(folder, target):
    config = folder.config()
    config.model._target_ = target
    folder.write_config(config)
    with pytest.raises(ConfigError, match=r"was made by aevb 0\.1, .* train it again$"):
        aevb.load_run(folder.path)

"""The run folders of `task=fit_prior`, from start to end."""

import json
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from aevb.apps.evaluate import evaluate
from aevb.errors import ConfigError
from aevb.priors import MixtureOfGaussians, VampPrior
from aevb.runs.find import find_runs
from aevb.runs.folder import RunFolder
from aevb.runs.load import load_run

CONF = str(Path(__file__).parents[2] / "conf")


def call(*overrides: str) -> None:
    with initialize_config_dir(CONF, version_base="1.3"):
        config = compose("evaluate", [*overrides])
    evaluate(config)


@pytest.mark.parametrize("seeds", ["null", pytest.param("2", marks=pytest.mark.slow)])
def test_the_new_model_is_a_run_that_can_be_evaluated_but_not_trained(run_train, seeds, capsys):
    short = ["max_samples=3000", "hidden=[16]", "logger=none", "callbacks.images=null", "callbacks.progress=null"]
    folder, _ = run_train(*short, f"seeds={seeds}")
    task = ["task=fit_prior", "task.num_steps=40", "device=cpu"]
    call(f"run={folder.path}", *task, "task.prior.num_components=3")
    (entry,) = json.loads((folder.path / "evaluation.json").read_text())["tasks"]
    new = RunFolder(folder.path / "fit_prior" / "MixtureOfGaussians")
    assert str(new.path) in entry["words"][-1]
    assert new.status()["results"] == {"test/elbo": pytest.approx(entry["results"]["elbo_after"])}
    vae, old = load_run(new.path), load_run(folder.path)
    assert isinstance(vae.p.prior, MixtureOfGaussians)
    assert len(vae.p.prior.logits) == 3
    x = torch.rand(5, 1, 8, 8)
    assert torch.equal(vae.encode(x).mean, old.encode(x).mean)
    assert torch.equal(vae.p.head.layer.weight, old.p.head.layer.weight)

    call(f"run={new.path}", "estimators=[elbo]", "estimators.elbo.num_samples=200", "device=cpu")
    (estimate,) = json.loads((new.path / "evaluation.json").read_text())["entries"]
    assert estimate["value"] == pytest.approx(entry["results"]["elbo_after"], abs=0.3)
    assert [run.path for run in find_runs(folder.path)] == [folder.path]

    call(f"run={folder.path}", *task, "task.prior.num_components=4")
    assert len(load_run(new.path).p.prior.logits) == 4
    assert not (new.path / "evaluation.json").exists()

    call(f"run={folder.path}", *task, "model/prior@task.prior=vamp", "task.prior.num_components=4")
    vamp = load_run(folder.path / "fit_prior" / "VampPrior").p.prior
    assert isinstance(vamp, VampPrior)
    assert vamp.range.tolist() == [0, 1]
    with pytest.raises(ConfigError, match="was made by task=fit_prior, and cannot be trained further"):
        run_train(f"resume={new.path}", "max_samples=9000", folder=new.path)

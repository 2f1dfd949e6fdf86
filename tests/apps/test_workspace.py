"""The wandb workspace: what would be sent to the server names what our runs log, and nothing is sent to find out."""

import json
import socket

import pytest

from aevb.apps.workspace import main
from aevb.training.loggers.wandb_config import dashboard_config


@pytest.fixture
def specification(monkeypatch, capsys):
    pytest.importorskip("wandb_workspaces", reason="the extra `workspace` is not installed")

    def refuse(*arguments):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    main(["--entity", "me", "--project", "vae", "--group", "my sweep", "--columns", "optimizer_lr", "--print"])
    return json.loads(capsys.readouterr().out)


def panels(specification: dict) -> dict[str, list[dict]]:
    sections = specification["spec"]["section"]["panelBankConfig"]["sections"]
    return {section["name"]: [panel["config"] for panel in section["panels"]] for section in sections}


def test_elbo_is_on_a_logarithmic_axis_of_samples_by_likelihood(specification):
    assert (specification["entity"], specification["project"]) == ("me", "vae")
    found = panels(specification)
    assert [panel["metrics"] for panel in found["ELBO"]] == [["train/elbo"], ["val/elbo"]]
    for panel in found["ELBO"]:
        assert (panel["xAxis"], panel["xLogScale"]) == ("samples", True)
        assert panel["groupBy"] == "model.value.likelihood"
    parts = [panel["metrics"][0] for panel in found["KL and reconstruction"]]
    assert sorted(parts) == ["train/kl", "train/log_likelihood", "val/kl", "val/log_likelihood"]


def test_sweep_and_pictures_are_shown(specification):
    found = panels(specification)
    (coordinates,) = found["Sweep"]
    assert [column["accessor"] for column in coordinates["columns"]] == [
        "config:model.value.likelihood",
        "config:model.value.latent_dim",
        "config:optimizer_lr.value",
        "summary:val/elbo",
        "summary:test/elbo",
    ]
    keys = [key for panel in found["Pictures"] for key in panel["mediaKeys"]]
    assert keys == ["images/samples", "images/reconstructions", "images/manifold"]


def test_only_the_runs_of_the_sweep_are_shown(specification):
    (runset,) = specification["spec"]["section"]["runSets"]
    conditions = json.dumps(runset["filters"])
    assert '"my sweep"' in conditions
    assert '"train"' in conditions
    assert "model.value.likelihood" in json.dumps(runset["grouping"])


def test_keys_of_the_panels_are_those_of_the_configuration():
    asked = {
        "model": {"latent_dim": 2, "likelihood": {"_target_": "aevb.likelihoods.Bernoulli"}},
        "optimizer": {"_target_": "torch.optim.Adagrad", "lr": 0.1},
    }
    config = dashboard_config(asked)
    assert config["model"] == {"latent_dim": 2, "likelihood": "bernoulli"}
    assert config["optimizer_lr"] == 0.1


def test_missing_extra_is_named(monkeypatch, capsys):
    monkeypatch.setattr("aevb.apps.workspace.wr", None)
    with pytest.raises(SystemExit) as stopped:
        main(["--entity", "me", "--print"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.strip() == (
        "error: this needs wandb-workspaces; install it with: pip install 'aevb[workspace]'"
    )

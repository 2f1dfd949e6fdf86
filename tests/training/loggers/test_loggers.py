"""metrics.csv, and wandb's offline file read back."""

import json
import os
import socket
from pathlib import Path

import pytest
import torch
import wandb

from aevb import plots
from aevb.training.loggers import (
    MetricsFile,
    WandbLogger,
    dashboard_config,
    has_credentials,
    log_image,
    log_sweep_table,
)

from ...wandb_file import config_of, exit_code, read_offline_run, run_of, values
from ...wandb_server import serve


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "true")  # restored afterwards, whatever the loggers make of it
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY"):
        monkeypatch.delenv(name, raising=False)


def test_offline_run_holds_everything(tmp_path):
    logger = WandbLogger(tmp_path, project="p", group="g", tags=["a", "b"], job_type="train", id="abc12345")
    logger.log_hyperparams({"model": {"latent_dim": 2}, "seed": 3})
    for samples, elbo in ((100, -5.0), (200, -3.0), (300, -4.0)):
        logger.log_metrics({"train/elbo": elbo}, samples)
    plots.save_picture(torch.rand(3, 4, 4), tmp_path / "picture.png")
    log_image(logger, "images/samples", tmp_path / "picture.png", 300)
    assert logger.where.startswith("wandb sync ")
    assert Path(logger.where.removeprefix("wandb sync ")).is_dir()
    logger.finish(exit_code=0)

    records = read_offline_run(tmp_path)
    run = run_of(tmp_path)
    assert (run.run_id, run.project, run.run_group, run.job_type) == ("abc12345", "p", "g", "train")
    assert run.display_name == tmp_path.name
    assert list(run.tags) == ["a", "b"]
    config = config_of(tmp_path)
    assert config["model"] == {"latent_dim": 2}
    assert config["seed"] == 3

    history = [values(record.history.item) for record in records if record.HasField("history")]
    assert [(row["samples"], row["train/elbo"]) for row in history if "train/elbo" in row] == [
        (100, -5.0),
        (200, -3.0),
        (300, -4.0),
    ]
    (picture,) = [row["images/samples"] for row in history if "images/samples" in row]
    assert picture["_type"] == "image-file"
    (run_folder,) = tmp_path.glob("wandb/offline-run-*")
    assert (run_folder / "files" / picture["path"]).stat().st_size == (tmp_path / "picture.png").stat().st_size

    metrics = {r.metric.name or r.metric.glob_name: r.metric for r in records if r.HasField("metric")}
    assert metrics["*"].step_metric == "samples"
    assert metrics["train/elbo"].summary.max
    assert exit_code(tmp_path) == 0


@pytest.mark.parametrize(("code", "preempted"), [(1, False), (143, True)])
def test_run_that_did_not_finish_ends_as_what_it_is(tmp_path, code, preempted):
    logger = WandbLogger(tmp_path)
    logger.log_metrics({"train/elbo": -1.0}, 100)
    logger.finish(exit_code=code)
    assert exit_code(tmp_path) == code
    assert any(record.HasField("preempting") for record in read_offline_run(tmp_path)) == preempted


def test_resumed_run_continues_its_id_and_says_what_happened(tmp_path):
    for folder, resumed_after in (("first", None), ("second", "killed")):
        (tmp_path / folder).mkdir()
        logger = WandbLogger(tmp_path / folder, id="abc12345", tags=["a"], resumed_after=resumed_after)
        logger.log_hyperparams({"seed": 1})
        logger.finish(exit_code=0)
    found = []
    for folder in ("first", "second"):
        run = run_of(tmp_path / folder)
        found.append((run.run_id, list(run.tags), config_of(tmp_path / folder)["resumed_after"]))
    assert found == [("abc12345", ["a"], None), ("abc12345", ["a", "resumed"], "killed")]


def test_resumed_run_goes_on_online_under_its_id_and_ends_as_it_ended(tmp_path, monkeypatch):
    wandb.teardown()
    with serve() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.address)
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        for resumed_after, exit_code, samples in ((None, 143, 100), ("interrupted", 0, 200)):
            logger = WandbLogger(tmp_path, id="abc12345", group="g", name="seed=1", resumed_after=resumed_after)
            logger.log_hyperparams({"seed": 1})
            logger.log_metrics({"train/elbo": -1.0}, samples)
            logger.finish(exit_code)
        wandb.teardown()
    assert list(server.runs) == ["abc12345"]
    told = server.runs["abc12345"]
    assert [begun["groupName"] for begun in told.begun] == ["g", "g"]
    assert [begun["displayName"] for begun in told.begun] == ["seed=1", "seed=1"]
    assert [begun["tags"] or [] for begun in told.begun] == [[], ["resumed"]]
    assert told.exit_codes == [143, 0]
    assert [(row["samples"], row["_step"]) for row in told.history] == [(100, 0), (200, 1)]


def test_offline_run_calls_nobody(tmp_path, monkeypatch):
    wandb.teardown()  # its process of its own, and the settings that it has read
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("WANDB_BASE_URL", address)
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        logger = WandbLogger(tmp_path, offline=True, log_model=True)
        assert logger.experiment.settings.base_url == address
        assert os.environ["WANDB_ERROR_REPORTING"] == "false"
        logger.log_metrics({"train/elbo": -1.0}, 100)
        logger.finish(0, tmp_path / "best.ckpt")
        with pytest.raises(TimeoutError):
            server.accept()
    wandb.teardown()


def test_dashboard_groups_by_short_names():
    asked = {
        "seed": 3,
        "model": {
            "_target_": "aevb.vae.build",
            "latent_dim": 2,
            "likelihood": {"_target_": "aevb.likelihoods.FixedGaussian", "_partial_": True, "sigma": 0.1},
            "prior": {"_target_": "my.Prior", "base": {"_target_": "my.BaseOfGLOW", "depth": 4}, "options": {"a": 1}},
        },
        "objective": {"_target_": "aevb.objectives.MonteCarloEM", "updates": 5},
        "callbacks": {"images": None, "metrics": {"_target_": "aevb.training.callbacks.Metrics", "every_samples": 9}},
    }
    assert dashboard_config(asked) == {
        "seed": 3,
        "model": {
            "latent_dim": 2,
            "likelihood": "fixed_gaussian",
            "likelihood_sigma": 0.1,
            "prior": "prior",
            "prior_base": "base_of_glow",
            "prior_base_depth": 4,
            "prior_options": {"a": 1},
        },
        "objective": "monte_carlo_em",
        "objective_updates": 5,
        "callbacks": {"images": None, "metrics": "metrics", "metrics_every_samples": 9},
    }


def test_sweep_table_is_one_run_of_the_group_however_often_it_is_logged(tmp_path):
    rows = [{"seed": 0, "test/elbo": -3.5, "state": "finished"}, {"seed": 1, "state": "failed"}]
    log_sweep_table(tmp_path, rows[:1], ["seed", "state"], group="my sweep")
    (first,) = tmp_path.glob("wandb/offline-run-*")
    run = run_of(tmp_path)
    first.rename(tmp_path / "earlier")

    where = log_sweep_table(tmp_path, rows, ["seed", "test/elbo", "state"], group="my sweep", tags=["t"], exit_code=1)
    (second,) = tmp_path.glob("wandb/offline-run-*")
    assert where == f"wandb sync {os.path.relpath(second)}"
    records = read_offline_run(tmp_path)
    again = run_of(tmp_path)
    assert again.run_id == run.run_id
    assert (again.run_group, again.job_type, list(again.tags)) == ("my sweep", "sweep", ["t"])
    assert exit_code(tmp_path) == 1
    (logged,) = [values(record.history.item)["jobs"] for record in records if record.HasField("history")]
    table = json.loads((second / "files" / logged["path"]).read_text())
    assert table["columns"] == ["seed", "test/elbo", "state"]
    assert table["data"] == [[0, -3.5, "finished"], [1, None, "failed"]]


def test_second_run_in_one_process_is_a_second_wandb_run(tmp_path):
    ids = []
    for name in ("first", "second"):
        logger = WandbLogger(tmp_path / name)
        (tmp_path / name).mkdir()
        ids.append(logger.experiment.id)
        logger.log_metrics({"train/elbo": -1.0}, 100)
        logger.finish(exit_code=0)
        assert wandb.run is None
    assert ids[0] != ids[1]
    for name in ("first", "second"):
        read_offline_run(tmp_path / name)


def test_online_only_with_credentials(tmp_path, monkeypatch):
    assert not has_credentials()
    assert WandbLogger(tmp_path)._wandb_init["mode"] == "offline"
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password " + "0" * 40 + "\n")
    (tmp_path / "netrc").chmod(0o600)
    assert has_credentials()
    assert WandbLogger(tmp_path)._wandb_init["mode"] is None
    assert WandbLogger(tmp_path, offline=True)._wandb_init["mode"] == "offline"


def test_metrics_file_has_the_samples_first(tmp_path):
    logger = MetricsFile(tmp_path / "metrics.csv")
    logger.log_metrics({"a": 1.5}, 10)
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["samples,a", "10,1.5"]

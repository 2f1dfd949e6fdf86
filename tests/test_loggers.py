"""metrics.csv, and wandb's offline file read back."""

from pathlib import Path

import pytest
import torch
import wandb

from aevb import plots
from aevb.loggers import MetricsFile, WandbLogger, has_credentials, log_image

from .wandb_file import exit_code, read_offline_run, values


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
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
    (run,) = [record.run for record in records if record.HasField("run")]
    assert (run.run_id, run.project, run.run_group, run.job_type) == ("abc12345", "p", "g", "train")
    assert run.display_name == tmp_path.name
    assert list(run.tags) == ["a", "b"]
    config = {}
    for entries in [run.config.update] + [record.config.update for record in records if record.HasField("config")]:
        config |= values(entries)
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


def test_failed_run_is_marked_as_crashed(tmp_path):
    logger = WandbLogger(tmp_path)
    logger.log_metrics({"train/elbo": -1.0}, 100)
    logger.finish(exit_code=1)
    assert exit_code(tmp_path) == 1


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


def test_metrics_file_appends_and_grows_columns(tmp_path):
    file = tmp_path / "metrics.csv"
    logger = MetricsFile(file)
    logger.log_metrics({"a": 1.5}, 10)
    logger.log_metrics({"a": 2.5}, 20)
    before = file.stat().st_ino
    logger.log_metrics({"a": 3.5}, 30)
    assert file.stat().st_ino == before
    logger.log_metrics({"b": 4.5}, 30)
    assert file.read_text().splitlines() == ["samples,a,b", "10,1.5,", "20,2.5,", "30,3.5,", "30,,4.5"]


def test_metrics_file_forgets_what_is_logged_again(tmp_path):
    logger = MetricsFile(tmp_path / "metrics.csv")
    for samples in (10, 20, 30):
        logger.log_metrics({"a": samples / 10}, samples)
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("4")  # a row that a killed run did not finish
    again = MetricsFile(tmp_path / "metrics.csv")
    again.truncate(20)
    again.log_metrics({"a": 9.0}, 25)
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["samples,a", "10,1.0", "20,2.0", "25,9.0"]

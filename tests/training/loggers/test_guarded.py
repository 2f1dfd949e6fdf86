"""Loggers that cannot start, or fail, cost no training."""

import csv
from types import SimpleNamespace

import pytest
import wandb
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from aevb.errors import ConfigError, Stopped
from aevb.training.loggers import make_logger


def refuse(*arguments: object, **options: object) -> None:
    """Fail as a service or a disk may, in more than one line."""
    raise OSError("no such luck\nand a long story")


def wandb_config(**settings: object) -> DictConfig:
    return OmegaConf.create({"logger": {"_target_": "aevb.training.loggers.WandbLogger", **settings}}).logger


def test_failed_logger_is_not_called_again(tmp_path, monkeypatch, caplog):
    logger = make_logger(wandb_config(folder=str(tmp_path)))
    monkeypatch.setattr(wandb, "init", refuse)
    logger.log_hyperparams({"seed": 1})
    logger.log_metrics({"train/elbo": -1.0}, 100)
    logger.log_image("images/samples", tmp_path / "picture.png", 300)
    logger.finish(0)
    assert logger.where() == {}
    assert [record.message for record in caplog.records if record.name == "aevb"] == [
        "WandbLogger failed: no such luck; training continues without it"
    ]


@pytest.mark.parametrize(
    ("target", "attribute"),
    [
        ("pytorch_lightning.loggers.CSVLogger", "log_metrics"),
        ("pytorch_lightning.loggers.CSVLogger", "save"),
        ("pytorch_lightning.loggers.TensorBoardLogger", "log_metrics"),
        ("pytorch_lightning.loggers.TensorBoardLogger", "finalize"),
    ],
)
def test_other_loggers_may_fail_at_any_time(tmp_path, monkeypatch, caplog, target, attribute):
    config = OmegaConf.create({"logger": {"_target_": target, "save_dir": str(tmp_path), "name": "", "version": "v"}})
    logger = make_logger(config.logger)
    monkeypatch.setattr(logger.logger, attribute, refuse)
    for samples in (100, 200):
        logger.log_metrics({"train/elbo": -1.0}, samples)
        logger.save()
    logger.finalize("success")
    (record,) = [record for record in caplog.records if record.name == "aevb"]
    assert record.message == f"{target.split('.')[-1]} failed: no such luck; training continues without it"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"project": "a/b"}, "logger.project must be a name of at most 128 characters without / "),
        ({"project": "p" * 200}, "logger.project must be a name of at most 128 characters without / "),
        ({"group": " "}, "logger.group must be a name of at most 128 characters or null, got ' '"),
        ({"tags": ["t" * 65]}, "logger.tags must be a list of names of at most 64 characters"),
        ({"log_model": "all"}, "logger.log_model must be true or false, got 'all'"),
        ({"no_such": 1}, "logger: "),
    ],
)
def test_bad_setting_is_named_before_training(tmp_path, settings, message):
    with pytest.raises(ConfigError) as refused:
        make_logger(wandb_config(folder=str(tmp_path), **settings))
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_numbers_are_names(tmp_path):
    logger = make_logger(wandb_config(folder=str(tmp_path), name=5, group=2026, tags=[1]))
    assert logger.logger._wandb_init["name"] == "5"
    assert logger.logger._wandb_init["tags"] == ["1"]


def test_bad_environment_of_wandb_is_named(tmp_path, monkeypatch):
    wandb.teardown()
    monkeypatch.setenv("WANDB_BASE_URL", "http://api.wandb.ai")
    with pytest.raises(ConfigError, match=r"^logger: wandb refuses its environment or settings file: .*not secure"):
        make_logger(wandb_config(folder=str(tmp_path)))
    wandb.teardown()


TINY = ["max_samples=300", "model.encoder.hidden=[8]", "callbacks.images.num_samples=4", "logger.wandb.offline=true"]


@pytest.mark.slow
def test_several_loggers_have_the_same_metrics(run_train, tmp_path):
    folder, _ = run_train("logger=[wandb,csv,tensorboard]", *TINY)
    with (folder.path / "csv" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    own = [row for row in csv.DictReader(folder.metrics_file.open()) if row["test/elbo"]]
    assert [float(row["test/elbo"]) for row in rows if row["test/elbo"]] == [float(row["test/elbo"]) for row in own]
    assert list((folder.path / "tensorboard").glob("events.*"))
    assert list((folder.path / "wandb").glob("offline-run-*"))
    run_train(f"resume={folder.path}", "max_samples=600", folder=folder.path)
    assert folder.config().logger.csv.save_dir == str(folder.path.absolute())


@pytest.mark.slow
def test_mlflow_has_metrics_and_pictures_in_a_folder(run_train, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    folder, elbo = run_train("logger=mlflow", "model.latent_dim=2", *TINY[:3])
    client = mlflow.MlflowClient(f"file:{folder.path}/mlruns")
    (run,) = client.search_runs([client.get_experiment_by_name("aevb").experiment_id])
    assert run.data.metrics["val/elbo"] == pytest.approx(elbo)
    assert run.data.params["model/latent_dim"] == "2"
    assert client.get_metric_history(run.info.run_id, "test/elbo")[-1].step == 300
    assert len(client.list_artifacts(run.info.run_id, "images")) >= 3


def test_a_run_that_diverges_alerts(run_train, monkeypatch):
    alerts = []
    monkeypatch.setattr(wandb.Run, "alert", lambda run, title, text: alerts.append((title, text)))
    with pytest.raises(Stopped):
        run_train(*TINY, "optimizer=adam", "optimizer.lr=1e30")
    ((title, text),) = alerts
    assert title == "run diverged"
    assert "the loss became" in text


def test_pictures_have_captions(tmp_path):
    logged = []
    logger = make_logger(wandb_config(folder=str(tmp_path), offline=True))
    logger.logger._experiment = SimpleNamespace(log=logged.append)
    Image.new("L", (4, 4)).save(tmp_path / "picture.png")
    logger.log_image("images/samples", tmp_path / "picture.png", 3000)
    assert logged[0]["images/samples"]._caption == "samples after 3,000 training samples"

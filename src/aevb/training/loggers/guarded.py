"""A logger whose failure does not end the run."""

import logging
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import wandb
from matplotlib.image import imread
from omegaconf import DictConfig
from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger
from pytorch_lightning.loggers import WandbLogger as LightningWandbLogger

from aevb.config import instantiate
from aevb.errors import ConfigError, first_line
from aevb.training.loggers.wandb_run import WandbLogger

log = logging.getLogger("aevb")


class GuardedLogger(Logger):
    """Passes calls to a Lightning logger until its first exception, which is logged in one line.

    The metrics are in `metrics.csv` in any case.
    """

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self.logger = logger
        self.failed = False

    @property
    def name(self) -> str | None:
        return type(self.logger).__name__

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        self.attempt(self.logger.log_hyperparams, params)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.attempt(self.logger.log_metrics, dict(metrics), step)

    def log_image(self, name: str, path: Path, samples: int) -> None:
        """Log a picture file, if the logger takes pictures."""
        self.attempt(log_image, self.logger, name, path, samples)

    def alert(self, title: str, text: str) -> None:
        """Alert the user of a wandb run, as wandb's settings say: by e-mail, Slack or on the page."""
        if isinstance(self.logger, WandbLogger):
            self.attempt(self.logger.experiment.alert, title, text)

    def save(self) -> None:
        self.attempt(self.logger.save)

    def finalize(self, status: str) -> None:
        self.attempt(self.logger.finalize, status)

    def finish(self, exit_code: int, best_checkpoint: Path | None = None) -> None:
        """End the wandb run, if it is one."""
        if isinstance(self.logger, WandbLogger):
            self.attempt(self.logger.finish, exit_code, best_checkpoint)

    def where(self) -> dict[str, str]:
        """The logger's name → the address, command or file to see its content."""
        if self.failed:
            return {}
        if isinstance(self.logger, WandbLogger):
            return {"wandb": self.logger.where}
        if isinstance(self.logger, TensorBoardLogger):
            return {"tensorboard": f"tensorboard --logdir {self.logger.save_dir}"}
        if isinstance(self.logger, CSVLogger):
            return {"csv": str(Path(self.logger.log_dir) / "metrics.csv")}
        if isinstance(self.logger, MLFlowLogger):
            return {"mlflow": f"mlflow ui --backend-store-uri {self.logger._tracking_uri}"}
        return {}

    def attempt(self, action: Callable[..., Any], *arguments: Any) -> None:
        """Call `action`, unless an earlier call has failed."""
        if self.failed:
            return
        try:
            action(*arguments)
        except Exception as error:
            self.failed = True
            log.warning("%s failed: %s; training continues without it", self.name, first_line(error))


def log_image(logger: Logger, name: str, path: Path, samples: int) -> None:
    """Log a picture file to a logger, if it takes pictures."""
    if isinstance(logger, LightningWandbLogger):
        caption = f"{name.rpartition('/')[2]} after {samples:,} training samples"
        logger.log_metrics({name: wandb.Image(str(path), caption=caption)}, samples)  # type: ignore[dict-item]
    elif isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(name, imread(path), samples, dataformats="HWC")
    elif isinstance(logger, MLFlowLogger):
        logger.experiment.log_artifact(logger.run_id, str(path), "images")


def make_logger(config: DictConfig, **identity: Any) -> GuardedLogger:
    """The logger of a configuration.

    Args:
        config: A node of `logger`.
        identity: `id` and `resumed_after` of a wandb run.
    """
    try:
        return GuardedLogger(instantiate(config, **(identity if is_wandb(config) else {})))
    except ConfigError:
        raise
    except Exception as error:  # of a library that is asked for its server or folder
        raise ConfigError(f"{config._get_full_key(None)}: {first_line(error)}") from error


def is_wandb(config: DictConfig) -> bool:
    """Whether a node of `logger` is of wandb."""
    return bool(config._target_ == f"{WandbLogger.__module__.rpartition('.')[0]}.{WandbLogger.__name__}")

"""Logging of pictures."""

from pathlib import Path

import wandb
from matplotlib.image import imread
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.loggers import WandbLogger as LightningWandbLogger


def log_image(logger: Logger, name: str, path: Path, samples: int) -> None:
    """Log a picture file to a logger, if it takes pictures."""
    if isinstance(logger, LightningWandbLogger):
        logger.log_metrics({name: wandb.Image(str(path))}, samples)  # type: ignore[dict-item]
    elif isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(name, imread(path), samples, dataformats="HWC")

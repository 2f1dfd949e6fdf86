"""Pictures for the loggers that take them."""

from pathlib import Path

import wandb
from matplotlib.image import imread
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.loggers import WandbLogger as LightningWandbLogger


def log_image(logger: Logger, name: str, path: Path, samples: int) -> None:
    """Give a picture to a logger that takes pictures."""
    if isinstance(logger, LightningWandbLogger):
        logger.log_metrics({name: wandb.Image(str(path))}, samples)  # type: ignore[dict-item]
    elif isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(name, imread(path), samples, dataformats="HWC")

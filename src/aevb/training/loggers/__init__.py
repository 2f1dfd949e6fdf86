"""Loggers: metrics.csv of the run folder, and wandb with `samples` as the axis of every curve."""

from aevb.training.loggers.guarded import GuardedLogger, is_wandb, make_logger
from aevb.training.loggers.metrics_file import MetricsFile
from aevb.training.loggers.wandb_config import dashboard_config
from aevb.training.loggers.wandb_run import WandbLogger, has_credentials
from aevb.training.loggers.wandb_sweep import log_sweep_table

__all__ = [
    "GuardedLogger",
    "MetricsFile",
    "WandbLogger",
    "dashboard_config",
    "has_credentials",
    "is_wandb",
    "log_sweep_table",
    "make_logger",
]

"""Loggers: metrics.csv of the run folder, and wandb with `samples` as the axis of every curve."""

from aevb.training.loggers.guarded import GuardedLogger, make_logger
from aevb.training.loggers.metrics_file import MetricsFile
from aevb.training.loggers.wandb_run import WandbLogger
from aevb.training.loggers.wandb_sweep import log_sweep_table

__all__ = ["GuardedLogger", "MetricsFile", "WandbLogger", "log_sweep_table", "make_logger"]

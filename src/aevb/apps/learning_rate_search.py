"""The choice of the learning rate as in section 5 of the paper: by the bound on the training set, early in training."""

import logging
import math
from collections.abc import Callable
from statistics import fmean
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig

from aevb.config import instantiate
from aevb.data import InMemoryDataModule
from aevb.distributed.strategy import trainer_options
from aevb.errors import ConfigError, NonFiniteLossError
from aevb.runs.folder import RunFolder
from aevb.training.callbacks.curve import mean_elbo
from aevb.training.module import AEVB

log = logging.getLogger("aevb")

DATAPOINTS = 10_000
"""Number of training datapoints on which the candidates are compared."""


def choose(
    config: DictConfig,
    folder: RunFolder,
    data: InMemoryDataModule,
    make_module: Callable[[DictConfig, InMemoryDataModule], AEVB],
) -> None:
    """Set `optimizer.lr` to the candidate with the highest bound on the training set.

    Each candidate trains from the same initial weights, on the same data in the same order, for
    `learning_rate_search.samples` samples. The choice is written to the run's configuration, so that a resumed run
    keeps it, and the candidates' ELBO to train.log and status.json, as `learning_rate`.

    Args:
        config: Of the run; changed in place.
        folder: Of the run.
        data: Loaded.
        make_module: (config, data) → the module with its initial weights, the same for each call.
    """
    search = config.learning_rate_search
    if not search.candidates:
        raise ConfigError("learning_rate_search.candidates must list learning rates as optimizer.lr is null, got none")
    elbos: dict[float, float] = {}
    for lr in search.candidates:
        elbos[lr], is_first = train_briefly(config, data, make_module, lr, search.samples)
        if is_first:
            log.info("learning rate %g: training ELBO %.2f after %s samples", lr, elbos[lr], f"{search.samples:,}")
    chosen = max(elbos, key=elbos.__getitem__)
    if elbos[chosen] == float("-inf"):
        raise ConfigError(
            f"learning_rate_search.candidates: training diverges with each of {list(elbos)}; name smaller ones"
        )
    config.optimizer.lr = chosen
    if is_first:
        log.info("learning rate %g chosen", chosen)
        folder.write_config(config)
        found = {f"{lr:g}": elbo if math.isfinite(elbo) else None for lr, elbo in elbos.items()}
        folder.write_status(learning_rate={"chosen": chosen, "samples": search.samples, "train_elbo": found})


def train_briefly(
    config: DictConfig,
    data: InMemoryDataModule,
    make_module: Callable[[DictConfig, InMemoryDataModule], AEVB],
    lr: float,
    samples: int,
) -> tuple[float, bool]:
    """Train from the initial weights with a learning rate, without a run folder.

    Returns:
        The mean ELBO of the training set over all members in nats, −∞ where training diverged, and whether this is
        rank 0.
    """
    trial = config.copy()
    trial.optimizer.lr, trial.max_samples = lr, samples
    trainer: pl.Trainer = instantiate(trial.trainer, **(QUIET | trainer_options() | {"max_epochs": -1}))
    module = make_module(trial, data)
    try:
        trainer.fit(module, data)
    except NonFiniteLossError:
        return float("-inf"), trainer.is_global_zero
    elbo = fmean(mean_elbo(member, data.examples("train", DATAPOINTS)) for member in module.members)
    return (elbo if math.isfinite(elbo) else float("-inf")), trainer.is_global_zero


QUIET: dict[str, Any] = {
    "logger": False,
    "limit_val_batches": 0,
    "enable_checkpointing": False,
    "enable_model_summary": False,
    "enable_progress_bar": False,
    "use_distributed_sampler": False,
}
"""Options of a trainer that does nothing but train."""

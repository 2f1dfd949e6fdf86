"""The choice of the step size from a few candidates, as in section 5 of the paper: on the training set, early on."""

import logging
import math
from collections.abc import Callable
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
"""Of the training set, on which the candidates are compared; all where there are fewer."""


def choose(
    config: DictConfig,
    folder: RunFolder,
    data: InMemoryDataModule,
    make_module: Callable[[DictConfig, InMemoryDataModule], AEVB],
) -> None:
    """Set `optimizer.lr` to the candidate with the highest bound on the training set, for good.

    Each candidate trains from the same start, on the same data in the same order, for `step_size_search.samples`
    samples. The choice goes into the run's configuration, so that a resumed run keeps it; what the candidates reached
    goes into train.log and status.json, as `step_size`.

    Args:
        config: Of the run; changed in place.
        folder: Of the run.
        data: Loaded.
        make_module: (config, data) → the module at its start, the same for each call.

    Raises:
        ConfigError: a setting makes no sense, or every candidate's loss became NaN or infinite.
    """
    candidates, samples = settings(config)
    found: dict[float, float] = {}
    for step_size in candidates:
        found[step_size], is_first = train_briefly(config, data, make_module, step_size, samples)
        if is_first:
            log.info("step size %g: training ELBO %.2f after %s samples", step_size, found[step_size], f"{samples:,}")
    chosen = max(found, key=lambda step_size: found[step_size])
    if found[chosen] == float("-inf"):
        raise ConfigError(
            f"step_size_search.candidates: training diverges with each of {candidates}; name smaller ones"
        )
    config.optimizer.lr = chosen
    if is_first:
        log.info("step size %g chosen", chosen)
        folder.write_config(config)
        elbos = {f"{step_size:g}": elbo if elbo > float("-inf") else None for step_size, elbo in found.items()}
        folder.write_status(step_size={"chosen": chosen, "samples": samples, "train_elbo": elbos})


def settings(config: DictConfig) -> tuple[list[float], int]:
    """The candidates and the samples of the search.

    Raises:
        ConfigError: they make no sense.
    """
    asked = config.step_size_search
    candidates = list(asked.candidates)
    if not candidates:
        raise ConfigError("step_size_search.candidates must hold step sizes, as optimizer.lr is null; got none")
    return candidates, asked.samples


def train_briefly(
    config: DictConfig,
    data: InMemoryDataModule,
    make_module: Callable[[DictConfig, InMemoryDataModule], AEVB],
    step_size: float,
    samples: int,
) -> tuple[float, bool]:
    """Train from the start with a step size, and leave nothing behind.

    Returns:
        The mean ELBO of the training set in nats, −∞ where training diverged, and whether this process is the first.
    """
    trial = config.copy()
    trial.optimizer.lr, trial.max_samples = step_size, samples
    trainer: pl.Trainer = instantiate(trial.trainer, **(QUIET | trainer_options() | {"max_epochs": -1}))
    module = make_module(trial, data)
    try:
        trainer.fit(module, data)
    except NonFiniteLossError:
        return float("-inf"), trainer.is_global_zero
    elbo = mean_elbo(module, data.examples("train", DATAPOINTS)[0])
    return (elbo if math.isfinite(elbo) else float("-inf")), trainer.is_global_zero


QUIET: dict[str, Any] = {
    "logger": False,
    "limit_val_batches": 0,
    "enable_checkpointing": False,
    "enable_model_summary": False,
    "enable_progress_bar": False,
    "use_distributed_sampler": False,
}
"""A trainer that trains and does nothing else."""

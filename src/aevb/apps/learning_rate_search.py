"""The choice of the learning rate as in section 5 of the paper: by the bound on the training set, early in training."""

import logging
import math
from statistics import fmean

from omegaconf import DictConfig

from aevb.apps.assembly import make_module, plain_trainer
from aevb.data import InMemoryDataModule
from aevb.distributed.world import rank
from aevb.errors import ConfigError, NonFiniteLossError
from aevb.runs.folder import RunFolder
from aevb.training.callbacks.curve import mean_elbo
from aevb.training.schedules import spans_run

log = logging.getLogger("aevb")

DATAPOINTS = 10_000
"""Number of training datapoints on which the candidates are compared."""


def choose(config: DictConfig, folder: RunFolder, data: InMemoryDataModule) -> None:
    """Set `optimizer.lr` to the candidate with the highest bound on the training set.

    Each candidate trains from the same initial weights, on the same data in the same order, for
    `learning_rate_search.samples` samples. The choice is written to the run's configuration, so that a resumed run
    keeps it, and the candidates' ELBO to train.log and status.json, as `learning_rate`.
    """
    search, is_first = config.learning_rate_search, rank() == 0
    if not search.candidates:
        raise ConfigError("learning_rate_search.candidates must list learning rates as optimizer.lr is null, got none")
    elbos: dict[float, float] = {}
    for lr in search.candidates:
        elbos[lr] = elbo_after(config, data, lr, search.samples)
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


def elbo_after(config: DictConfig, data: InMemoryDataModule, lr: float, samples: int) -> float:
    """The mean ELBO of the training set over all members in nats, after a short training; −∞ where it diverges."""
    trial = config.copy()
    trial.optimizer.lr, trial.max_samples = lr, samples
    trial.ema_decay = None  # so early in training, averages are of the first steps
    trainer = plain_trainer(trial, max_epochs=-1, limit_val_batches=0)
    module = make_module(trial, data)
    if spans_run(module.make_schedule):
        module.make_schedule = None  # it would end with these samples
    try:
        trainer.fit(module, data)
    except NonFiniteLossError:
        return float("-inf")
    elbo = fmean(mean_elbo(member, data.examples("train", DATAPOINTS)) for member in module.members)
    return elbo if math.isfinite(elbo) else float("-inf")

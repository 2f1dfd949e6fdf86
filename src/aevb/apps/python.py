"""The programs as functions: `aevb.fit` on arrays, `aevb.train` on a configuration."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities.seed import isolate_rng

from aevb.apps.assembly import build_module, fill_in, make_module, plain_trainer, quiet_lightning
from aevb.apps.command import Command
from aevb.apps.command_line import parse_override
from aevb.apps.compose import compose_unchecked, options_of, without_hydra
from aevb.apps.train import fit_in_processes, open_run
from aevb.config import conf_folder, instantiate
from aevb.console import LineHandler
from aevb.data import InMemoryDataModule
from aevb.data.array import as_array
from aevb.distributed.devices import num_processes
from aevb.errors import ConfigError
from aevb.files import require_writable
from aevb.inputs import without_labels
from aevb.settings import validate
from aevb.training.callbacks.best import KeepBest
from aevb.training.module import AEVB
from aevb.training.precision import set_matmul_precision
from aevb.training.steps.products import fast_products
from aevb.types import did_you_mean, shown
from aevb.vae import VAE

log = logging.getLogger("aevb")

FOR_RUN_FOLDERS = ("callbacks.checkpoint", "callbacks.images", "callbacks.metrics")
"""Callbacks of the default configuration that write to a run folder."""


def train(config: DictConfig) -> Path:
    """Train as `train.py` does, and return the run folder, for `aevb.load_run` and the other programs.

    Args:
        config: As `aevb.compose` returns it, with or without changes.

    Raises:
        ConfigError: a setting is invalid, or the run folder cannot be used.
    """
    validate_values(config)
    command = Command.of_call(config)
    require_writable(command.folder.path, "paths.run")
    with isolated(config), open_run(command) as run_config:
        if run_config is not None:
            fit_in_processes(command, run_config)
    return command.folder.path


def fit(
    x: Any,
    y: Any = None,
    *,
    c: Any = None,
    lengths: Any = None,
    likelihood: str | None = None,
    latent_dim: int | None = None,
    hidden: Sequence[int] | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    max_samples: int | None = None,
    max_epochs: int | None = None,
    seed: int = 0,
    overrides: Sequence[str] = (),
    config_dir: str | Path | None = None,
    verbose: bool = True,
) -> VAE:
    """Train a variational auto-encoder on arrays, and return it with its best weights.

    The same as `train.py data=array` with the same data, settings and seed, to the last bit, but without a run folder:
    the val/elbo of 10 % of the data selects the weights, and the test/elbo of another 10 % is logged. Other settings
    are those of `conf/`.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(500, 20))
        >>> vae = fit(x, likelihood="gaussian", latent_dim=2, hidden=[16], max_epochs=2)
        >>> vae.encode(x).mean.shape
        torch.Size([500, 2])

    Args:
        x: A NumPy array, a tensor, a sparse matrix or nested lists: images (N, H, W), (N, C, H, W), (N, H, W, C) or
            vectors (N, D); see `aevb.data.Array`. Or a data module, of `aevb.data` or any other of Lightning's.
        y: Labels (N,), integers; the conditions of a model given labels, `overrides=["model=conditional"]`.
        c: Conditions (N, *condition_shape), numbers, of a model that takes some, `overrides=["model=regression"]`.
        lengths: Steps (N,), integers, of sequences x (N, T, D), for `overrides=["model=deep_markov"]` and the like.
        likelihood: An option of `conf/model/likelihood`, such as gaussian; by default that of the model, bernoulli
            unless `overrides` choose another.
        latent_dim: Dimensions of z.
        hidden: Units of the encoder's hidden layers; the decoder has the same in reverse.
        batch_size: Size of a minibatch; by default 100, or the size of a smaller training set.
        learning_rate: Learning rate of the optimizer.
        max_samples: Training samples evaluated before training ends.
        max_epochs: Epochs before training ends, in place of `max_samples`.
        seed: Seed of weights, order and noise.
        overrides: Anything else, as after `train.py`: `["objective=iwae", "objective.num_samples=5"]`.
        config_dir: A folder with YAML files of your own, as `--config-dir`.
        verbose: Whether to show progress and results, unless the caller has its own log handlers.

    Raises:
        ConfigError: an argument or the data are invalid; one line.
    """
    if likelihood is not None:
        require_likelihood(likelihood)
    data = x if isinstance(x, pl.LightningDataModule) else None
    settings = {
        "model.latent_dim": latent_dim,
        "model.encoder.hidden": None if hidden is None else np.asarray(hidden).tolist(),
        "data.batch_size": batch_size,
        "optimizer.lr": learning_rate,
        "max_samples": max_samples,
        "trainer.max_epochs": max_epochs,
        "seed": seed,
    }
    option = option_of(data)
    chosen = [f"data={option}", *(["data.path=x"] if option == "array" else []), "logger=none"]
    if likelihood is not None:
        has_model = any(parse_override(override).key_or_group == "model" for override in overrides)
        chosen.append(f"model/likelihood={likelihood}" if has_model else f"model={likelihood}")
    chosen += [f"{key}={value}" for key, value in settings.items() if value is not None]
    config = without_hydra(compose_unchecked([*chosen, *overrides], config_dir))
    validate_values(config, has_data=True)
    require_simple(config, overrides)
    given = {"x": x, "y": y, "lengths": lengths, "c": c}
    for name, value in {**given, "batch_size": batch_size}.items():
        if data is not None and name != "x" and value is not None:
            raise ConfigError(f"{name}: a data module has its own; drop it")
    with isolated(config, verbose):
        if data is None:
            data = array_module(config, given, batch_size)
        return fit_module(config, data)


def fit_module(config: DictConfig, data: pl.LightningDataModule) -> VAE:
    """Train by a configuration on a data module; returns the model with its best weights, on the CPU."""
    try:
        data.prepare_data()
        data.setup("fit")
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if isinstance(data, InMemoryDataModule):
        config.data.shape = list(data.shape)
        fill_in(config, data)
        module = make_module(config, data)
    else:
        config.data.shape = list(without_labels(next(iter(data.train_dataloader()))).shape[1:])
        pl.seed_everything(config.seed, verbose=False)
        module = build_module(config)
    module.logs_itself = False
    best = KeepBest()
    named = {f"callbacks.{name}": node for name, node in config.callbacks.items() if node is not None}
    nodes = [node for name, node in named.items() if "_target_" in node and name not in FOR_RUN_FOLDERS]
    trainer = plain_trainer(config, callbacks=[*map(instantiate, nodes), best])
    trainer.fit(module, data)
    finish(trainer, module, data, best)
    return module.vae.cpu().eval()


def finish(trainer: pl.Trainer, module: AEVB, data: pl.LightningDataModule, best: KeepBest) -> None:
    """Give the module its best weights, and log the metrics; without validation data the last weights are kept."""
    if trainer.val_dataloaders is None:
        return
    if module.validated_samples != module.samples_seen:
        trainer.validate(module, data, verbose=False)
    module.load_state_dict(best.weights)
    results = {"val/elbo": best.elbo}
    if isinstance(data, InMemoryDataModule):
        trainer.test(module, data, verbose=False)
        results["test/elbo"] = float(trainer.callback_metrics["test/elbo"])
    found = ", ".join(f"{name} {value:.2f}" for name, value in results.items())
    log.info("finished after %s samples: %s nats per datapoint", f"{module.samples_seen:,}", found)


def array_module(config: DictConfig, given: dict[str, Any], batch_size: int | None) -> InMemoryDataModule:
    """The data module of arrays; without a `batch_size`, minibatches are no larger than the training set."""
    try:
        arrays = {name: as_array(values) for name, values in given.items() if name == "x" or values is not None}
    except ValueError as error:
        raise ConfigError(str(error)) from error
    x = arrays.pop("x")
    if batch_size is None and x.ndim:
        held_out = (max(1, round(len(x) * config.data[f"{split}_fraction"])) for split in ("val", "test"))
        config.data.batch_size = min(config.data.batch_size, max(1, len(x) - sum(held_out)))
    if "c" in arrays and "condition" in config.data:
        config.data.condition = None  # not the labels
    settings = OmegaConf.to_container(config.data, resolve=True)
    assert isinstance(settings, dict)
    del settings["path"]
    try:
        data: InMemoryDataModule = instantiate(OmegaConf.create({**settings, "_partial_": True}))(path=x, **arrays)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return data


def require_likelihood(name: str) -> None:
    """Raise a `ConfigError` that lists the likelihoods where there is no such one."""
    known = sorted(file.stem for file in (conf_folder() / "model" / "likelihood").glob("*.yaml"))
    if name not in known:
        hint = did_you_mean(str(name), known)
        raise ConfigError(f"likelihood must be one of {', '.join(known)}, got {shown(name)}{hint}")


def option_of(data: pl.LightningDataModule | None) -> str:
    """The option of `data` whose settings suit a data module: its own, or that of arrays."""
    return next(iter(options_of(f"aevb.data.{type(data).__name__}")), "array")


def validate_values(config: DictConfig, has_data: bool = False) -> None:
    """Validate a configuration without asking for its run folder, which would make one."""
    config = config.copy()
    config.paths.run = "."
    validate(config, "train", has_data)


def require_simple(config: DictConfig, overrides: Sequence[str]) -> None:
    """Raise a `ConfigError` for what a training without a run folder cannot do."""
    for override in overrides:
        key = parse_override(override).key_or_group
        if key.split(".")[0] in ("hydra", "logger", "resume", "sweep") or key.startswith(FOR_RUN_FOLDERS):
            raise ConfigError(f"{key} needs a run folder: use aevb.train")
    if config.optimizer.lr is None:
        raise ConfigError("optimizer.lr=null needs a run folder: use aevb.train, or name a learning rate")
    if config.seeds is not None:
        raise ConfigError("seeds: fit returns one model; call it for each seed, or use aevb.train")
    if num_processes(config.trainer) > 1:
        raise ConfigError("trainer.devices: fit trains in one process; for several use aevb.train")


@contextmanager
def isolated(config: DictConfig, verbose: bool = True) -> Iterator[None]:
    """Training that leaves the caller's random numbers, precision, warnings and logging as they were."""
    lightning = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in lightning]
    precision, level, handler = torch.get_float32_matmul_precision(), log.level, LineHandler()
    shows_log = verbose and not log.hasHandlers()
    with isolate_rng(), warnings.catch_warnings(), fast_products():
        quiet_lightning()
        set_matmul_precision(
            config.matmul_precision, config.trainer.get("precision"), config.trainer.get("accelerator")
        )
        if shows_log:
            log.addHandler(handler)
            log.setLevel(logging.INFO)
        try:
            yield
        finally:
            log.removeHandler(handler)
            log.setLevel(level)
            torch.set_float32_matmul_precision(precision)
            for logger, former in zip(lightning, levels, strict=True):
                logger.setLevel(former)

"""The parts of a run: data, module, loggers and trainer, from its configuration."""

import logging
import re
import warnings
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, ListConfig, OmegaConf
from pytorch_lightning.loggers import Logger
from torch.distributions import constraints

from aevb.config import instantiate
from aevb.data import InMemoryDataModule
from aevb.data.module import require_equal_shares
from aevb.distributed.strategy import trainer_options
from aevb.distributed.world import rank
from aevb.errors import ConfigError, first_line, is_out_of_memory
from aevb.networks import evaluation_mode
from aevb.runs.data import load_data
from aevb.runs.folder import RunFolder
from aevb.training.callbacks import AtomicCheckpointIO, Checkpoint, Interruption, Status
from aevb.training.loggers import MetricsFile, make_logger
from aevb.training.members import Members
from aevb.training.memory import weights_within_memory
from aevb.training.module import AEVB, evaluation


def quiet_lightning() -> None:
    """Silence hints of Lightning that do not apply to data in memory, or repeat the summary."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for hint in (
        "does not have many workers",
        "treespec, LeafSpec",
        "The number of training batches",
        "`srun` command",
        "sync_dist=True",
        "Detected call of `lr_scheduler.step()` before",  # in a run resumed at the end of an epoch
        "callbacks used to create the checkpoint",
    ):
        warnings.filterwarnings("ignore", f".*{re.escape(hint)}.*")


def prepared_data(config: DictConfig, folder: RunFolder) -> InMemoryDataModule:
    """The loaded data; their shapes and bounds are filled into the run's configuration."""
    data = load_data(config)
    if fill_in(config, data) and rank() == 0:
        folder.write_config(config)
    return data


def fill_in(config: DictConfig, data: InMemoryDataModule) -> bool:
    """Fill in what a configuration leaves to the data: their shapes and bounds; returns whether there was any."""
    filled: dict[str, Any] = {}
    if config.data.shape is None:
        filled["data.shape"] = list(data.shape)
    if "condition_shape" in config.model and config.model.condition_shape is None:
        if data.condition_shape is not None:
            filled["model.condition_shape"] = list(data.condition_shape)
        elif "condition" in config.data:
            raise ConfigError("data.condition must be labels: the model takes a condition, and the data have none")
    if OmegaConf.select(config, "model.likelihood.bounded") == "auto":
        lowest, highest = data.value_range
        filled["model.likelihood.bounded"] = lowest >= 0 and highest <= 1
    for key, value in filled.items():
        OmegaConf.update(config, key, value)
    shapes = {"data_shape": config.data.shape, "condition_shape": config.model.get("condition_shape")}
    fill_shapes(config.model, shapes)
    return bool(filled)


def fill_shapes(part: DictConfig, shapes: Mapping[str, Any]) -> None:
    """Fill in the shapes that a stored model leaves open; in a command they are interpolations."""
    for key, value in part.items():
        if isinstance(value, DictConfig):
            fill_shapes(value, shapes)
        elif value is None and shapes.get(str(key)) is not None:
            part[key] = shapes[str(key)]


def make_module(config: DictConfig, data: InMemoryDataModule) -> AEVB:
    """The module with its initial weights, a function of the configuration and the seed; of all its members."""
    members: list[AEVB] = []
    try:
        with weights_within_memory():
            for number in range(num_members(config)):
                member = member_config(config, number)
                pl.seed_everything(member.seed, verbose=False)
                members.append(build_module(member))
        module = members[0] if len(members) == 1 else Members(members)
        data.num_members = len(members)
        check_fit(config, module, data)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise ConfigError(
            f"model: it does not fit in memory ({first_line(error)}); lower model.latent_dim, model.encoder.hidden or "
            "objective.num_samples"
        ) from error
    return module


def build_module(config: DictConfig) -> AEVB:
    """The module of one seed, with weights drawn by torch's generator."""
    vae, objective, optimizer = (instantiate(config[name]) for name in ("model", "objective", "optimizer"))
    schedule = None if config.schedule is None else instantiate(config.schedule)
    settings = {name: config[name] for name in ("seed", "max_samples", "steps", "ema_decay")}
    try:
        return AEVB(vae, objective, optimizer, schedule=schedule, **settings)
    except ValueError as error:
        raise ConfigError(first_line(error)) from error


def num_members(config: DictConfig) -> int:
    """The number of seeds that a run trains at once."""
    return config.get("seeds") or 1


def member_config(config: DictConfig, number: int) -> DictConfig:
    """The configuration of a member: its seed, and its learning rate where each has one."""
    rates = config.optimizer.lr
    config = config.copy()
    config.seed += number
    config.optimizer.lr = rates[number] if isinstance(rates, ListConfig) else rates
    return config


def check_fit(config: DictConfig, module: AEVB, data: InMemoryDataModule) -> None:
    """Raise a `ConfigError` where likelihood, optimizer, objective or metric do not fit the data and the model."""
    head = module.vae.p.head
    try:
        module.check_data(data)
        for member in module.members:
            member.objective.num_data = data.train_size
            member.vae.p.adapt_to(*data.value_range)
    except ValueError as error:
        is_count = getattr(head, "support", None) is constraints.nonnegative_integer
        hint = "; uint8 is scaled to x / 255: save counts as int64"
        raise ConfigError(f"{error}{hint if is_count and data.is_uint8 else ''}") from error
    try:
        module.configure_optimizers()
    except ConfigError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"optimizer: {error}") from error
    x, _, c = data.examples("val", 2)
    try:
        with torch.no_grad():
            objective, vae = deepcopy((module.objective, module.vae))  # a training step may update running averages
            objective(vae.p.given(c), vae.q.given(c), x)
            with evaluation_mode(module):
                estimate = evaluation(module, x, c)
    except ValueError as error:
        message = first_line(error)
        raise ConfigError(message if message.startswith("objective") else f"objective: {message}") from error
    metrics = ["val/elbo", *(f"test/{name}" for name in estimate.metrics() if name != "loss")]
    if config.metric not in metrics:
        raise ConfigError(f"metric must be one of {', '.join(metrics)}, got {config.metric!r}")


def make_loggers(config: DictConfig, folder: RunFolder, resumed: Mapping[str, Any]) -> list[Logger]:
    """The logger of the run's own files, truncated to the rows of the last checkpoint, and the configured loggers."""
    if rank():
        return []
    metrics = MetricsFile(folder.metrics_file)
    metrics.truncate(resumed)
    status = folder.status()
    identity = {"id": status["id"], "resumed_after": status.get("resumed_after")}
    return [metrics, *(make_logger(node, **identity) for node in config.logger.values() if node is not None)]


def log_settings(config: DictConfig, loggers: list[Logger]) -> None:
    """Log the configuration; this starts a wandb run, late enough that no earlier error leaves one open."""
    settings: Any = OmegaConf.to_container(config, resolve=True)
    for logger in loggers:
        logger.log_hyperparams(settings)


def make_trainer(config: DictConfig, folder: RunFolder, loggers: list[Logger], status: Status) -> pl.Trainer:
    """Lightning's trainer, with the callbacks in the order in which they handle the end of a block."""
    chosen = {name: node for name, node in config.callbacks.items() if node is not None and "_target_" in node}
    folders = {"images": folder.images, "checkpoint": folder.last_checkpoint.parent}
    callbacks = {
        name: instantiate(node, **({"folder": str(folders[name])} if name in folders else {}))
        for name, node in chosen.items()
    }
    checkpoint = callbacks.pop("checkpoint", None) or Checkpoint(folder.last_checkpoint.parent)
    trainer = plain_trainer(
        config,
        AtomicCheckpointIO(),
        callbacks=[*callbacks.values(), status, checkpoint, Interruption(checkpoint)],
        logger=loggers or False,
        default_root_dir=str(folder.path),
    )
    require_equal_shares(config.data.batch_size, trainer.world_size)
    return trainer


def plain_trainer(config: DictConfig, *plugins: Any, **options: Any) -> pl.Trainer:
    """Lightning's trainer for the processes of the run, without what Lightning itself writes and prints."""
    trainer: pl.Trainer = instantiate(
        config.trainer,
        **{
            "max_epochs": -1 if config.trainer.max_epochs is None else config.trainer.max_epochs,
            "logger": False,
            "enable_checkpointing": False,
            "enable_model_summary": False,
            "enable_progress_bar": False,
            "num_sanity_val_steps": 0,
            "use_distributed_sampler": False,
            **trainer_options(*plugins),
            **options,
        },
    )
    return trainer

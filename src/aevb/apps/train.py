"""`train.py`: compose, fit, test, and leave a complete run folder."""

import logging
import os
import re
import shlex
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger

from aevb.apps import Stopped, step_size, summary
from aevb.callbacks import AtomicCheckpointIO, Checkpoint, Interrupted, Interruption, Status
from aevb.config import ConfigError, first_line, instantiate, require_allowed
from aevb.data import InMemoryDataModule
from aevb.data.loader import to_float
from aevb.loggers import MetricsFile, WandbLogger
from aevb.module import AEVB, NonFiniteLossError
from aevb.runs import RunFolder, now

log = logging.getLogger("aevb")
record = logging.getLogger("aevb.record")  # to train.log alone: the terminal gets the same as the last line

CHANGEABLE = ("allow", "callbacks", "logger", "max_samples", "record_steps", "resume", "trainer")
"""What may be said beside `resume`: the rest is the run's own."""


def train(config: DictConfig) -> float | None:
    """Train, test with the best checkpoint, and return the metric that `metric` names.

    Raises:
        ConfigError: a setting makes no sense.
        Stopped: the run was interrupted or failed; its folder says so.
    """
    folder = RunFolder(os.path.relpath(config.paths.run))
    if config.resume is None:
        name_in_sweep(config)
        folder.create(config, HydraConfig.get().overrides.task)
    else:
        config = resumed_config(config, folder)
    with recorded(folder):
        return fit_and_test(config, folder)


def name_in_sweep(config: DictConfig) -> None:
    """Let the logger know the sweep as the group, and the job's overrides as its name, where it has such settings.

    They are written to the run's configuration, so that a resumed job, which runs by itself, keeps them.
    """
    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN and "group" in config.logger:
        config.logger.group = config.logger.group or Path(hydra.sweep.dir).name
        overrides = hydra.job.override_dirname
        if 0 < len(overrides) <= 128:  # wandb takes no longer ones
            config.logger.name = config.logger.name or overrides


def resumed_config(config: DictConfig, folder: RunFolder) -> DictConfig:
    """The configuration of the run to continue, with what this command changes in it, written down again.

    Raises:
        ConfigError: the command changes what a resumed run cannot change, or the run's configuration names what may not
            be instantiated.
    """
    stored = folder.config()
    for override in OverridesParser.create().parse_overrides(list(HydraConfig.get().overrides.task)):
        key = override.key_or_group
        root = key.split(".")[0].split("/")[0]
        if root not in CHANGEABLE:
            raise ConfigError(f"{key}: a resumed run keeps its own; drop {override.input_line}, or start a new run")
        if key != "resume":
            OmegaConf.update(stored, key, OmegaConf.select(config, key), force_add=True)
    require_allowed(stored, config.allow)
    folder.write_config(stored)
    state = folder.status()["state"]
    folder.write_status(resumed_after="killed" if state == "running" else state)
    return stored


@contextmanager
def recorded(folder: RunFolder) -> Iterator[None]:
    """Write to status.json and train.log how what happens within ends.

    Raises:
        Stopped: it was interrupted, or failed for a reason other than a `ConfigError`.
    """
    folder.write_status(state="running", ended=None, error=None)
    try:
        yield
    except (Interrupted, KeyboardInterrupt, SystemExit) as stop:  # Lightning makes a SystemExit of Ctrl-C
        what = str(stop) if isinstance(stop, Interrupted) else "interrupted"
        folder.write_status(state="interrupted", ended=now(), error=None)
        record.warning(what)
        raise Stopped(
            f"{what}; continue with: python train.py resume={shlex.quote(str(folder.path))}", exit_code_of(stop)
        ) from stop
    except Exception as error:
        message = first_line(error)
        folder.write_status(state="failed", ended=now(), error=message)
        if isinstance(error, ConfigError):
            record.error(message)
            raise
        if not isinstance(error, NonFiniteLossError):
            log.exception("failed")
            raise Stopped(f"error: {message}", 1) from error
        record.error(message)
        kept = f"; the last good state is {folder.last_checkpoint}" if folder.last_checkpoint.exists() else ""
        raise Stopped(f"error: {message}{kept}", 1) from error
    folder.write_status(state="finished", ended=now())


def exit_code_of(error: BaseException) -> int:
    """128 + the signal's number for an interruption, 1 for anything else."""
    if isinstance(error, Interrupted):
        return 128 + error.signum
    return 128 + signal.SIGINT if isinstance(error, KeyboardInterrupt | SystemExit) else 1


def fit_and_test(config: DictConfig, folder: RunFolder) -> float | None:
    """Everything between a claimed run folder and its end."""
    quiet_lightning()
    data = prepared_data(config, folder)
    if config.optimizer.lr is None:
        step_size.choose(config, folder, data, make_module)
    module = make_module(config, data)
    resumed_samples = folder.load_checkpoint("last")[1]["samples"] if folder.last_checkpoint.exists() else 0
    loggers = make_loggers(config, folder, resumed_samples)
    trainer = make_trainer(config, folder, loggers)
    summary.print_start(config, folder, module, data, trainer, resumed_samples)
    exit_code = 0
    try:
        log_settings(config, loggers)
        results = run_trainer(trainer, module, data, folder, resumed_samples)
    except BaseException as error:
        exit_code = exit_code_of(error)
        raise
    finally:
        for logger in loggers:
            if isinstance(logger, WandbLogger):
                logger.finish(exit_code, folder.best_checkpoint)
    summary.print_end(folder, module, results, loggers)
    return results[config.metric]


def prepared_data(config: DictConfig, folder: RunFolder) -> InMemoryDataModule:
    """The data module, its data loaded; the shape it finds is written to the run's configuration."""
    data: InMemoryDataModule = instantiate(config.data)
    try:
        data.prepare_data()
        data.setup()
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if config.data.shape is None:
        config.data.shape = list(data.shape)
        folder.write_config(config)
    return data


def make_module(config: DictConfig, data: InMemoryDataModule) -> AEVB:
    """The module at its start, a function of the configuration and the seed; see `check_fit` for what it raises."""
    pl.seed_everything(config.seed, verbose=False)
    module: AEVB = instantiate(config.module)
    check_fit(config, module, data)
    return module


def check_fit(config: DictConfig, module: AEVB, data: InMemoryDataModule) -> None:
    """Find out before training what would stop the run later.

    Raises:
        ConfigError: the likelihood cannot score the data, the optimizer refuses its settings, or there is no metric of
            the name that a sweep is to optimize.
    """
    module.objective.num_data = data.train_size
    try:
        for chunk in (chunk for split in data.splits for chunk in split.x.split(5000)):
            module.generative.head.check(to_float(chunk))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    try:
        module.configure_optimizers()
    except (TypeError, ValueError) as error:
        raise ConfigError(f"optimizer: {error}") from error
    x, _ = data.examples("val", 2)
    with torch.no_grad():
        found = module.objective.evaluate(module.generative, module.recognition, x).metrics()
    metrics = ["val/elbo", *(f"test/{name}" for name in found if name != "loss")]
    if config.metric not in metrics:
        raise ConfigError(f"metric must be one of {', '.join(metrics)}, got {config.metric!r}")


def make_loggers(config: DictConfig, folder: RunFolder, resumed_samples: int) -> list[Logger]:
    """The run folder's own metrics file, and the logger that was chosen."""
    metrics = MetricsFile(folder.metrics_file)
    metrics.truncate(resumed_samples)
    loggers: list[Logger] = [metrics]
    if "_target_" in config.logger:
        status = folder.status()
        identity = {"id": status["id"], "resumed_after": status.get("resumed_after")}
        is_wandb = config.logger._target_.endswith("WandbLogger")
        loggers.append(instantiate(config.logger, **(identity if is_wandb else {})))
    return loggers


def log_settings(config: DictConfig, loggers: list[Logger]) -> None:
    """Give every logger what was asked; a wandb run starts here, so that none is left open by an earlier error."""
    asked: Any = OmegaConf.to_container(config, resolve=True)
    del asked["module"]  # says nothing that its parts do not say
    for logger in loggers:
        logger.log_hyperparams(asked)


def make_trainer(config: DictConfig, folder: RunFolder, loggers: list[Logger]) -> pl.Trainer:
    """Lightning's trainer, with the callbacks in the order in which they must see a block end."""
    chosen = {name: node for name, node in config.callbacks.items() if node is not None and "_target_" in node}
    folders = {"images": folder.images, "checkpoint": folder.last_checkpoint.parent}
    callbacks = {
        name: instantiate(node, **({"folder": str(folders[name])} if name in folders else {}))
        for name, node in chosen.items()
    }
    checkpoint = callbacks.pop("checkpoint", None) or Checkpoint(folder.last_checkpoint.parent)
    status = Status(lambda samples: folder.write_status(samples=samples))
    trainer: pl.Trainer = instantiate(
        config.trainer,
        max_epochs=-1 if config.trainer.max_epochs is None else config.trainer.max_epochs,
        callbacks=[*callbacks.values(), status, checkpoint, Interruption(checkpoint)],
        logger=loggers,
        plugins=[AtomicCheckpointIO()],
        default_root_dir=str(folder.path),
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    if trainer.world_size > 1:
        raise ConfigError(
            f"trainer.devices must be 1, got {trainer.world_size} processes; start a run for each device instead"
        )
    return trainer


def run_trainer(
    trainer: pl.Trainer, module: AEVB, data: InMemoryDataModule, folder: RunFolder, resumed_samples: int
) -> dict[str, float]:
    """Fit, and test with the best weights; returns the best validation's and the test's metrics."""
    last = str(folder.last_checkpoint) if resumed_samples else None
    trainer.fit(module, data, ckpt_path=last, weights_only=True)
    if module.validated_samples != module.samples:
        trainer.validate(module, data, verbose=False)
    best = folder.load_checkpoint("best")[1]
    module.load_state_dict(best["state_dict"])
    trainer.test(module, data, verbose=False)
    results = {"val/elbo": best["callbacks"]["Checkpoint"]["best_elbo"]}
    return results | {
        name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("test/")
    }


def quiet_lightning() -> None:
    """Keep Lightning's hints out of the terminal that do not apply to data in memory, or repeat our summary."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for hint in (
        "does not have many workers",
        "treespec, LeafSpec",
        "The number of training batches",
        "`srun` command",
    ):
        warnings.filterwarnings("ignore", f".*{re.escape(hint)}.*")

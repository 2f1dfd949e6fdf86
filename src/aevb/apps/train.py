"""`train.py`: compose, fit, test, and leave a complete run folder."""

import logging
import os
import re
import shlex
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger
from torch.distributions import constraints

from aevb.apps import summary
from aevb.apps.claim import claim, is_job
from aevb.checks import choice
from aevb.config import first_line, instantiate
from aevb.data import InMemoryDataModule
from aevb.data.loader import to_float
from aevb.distributed.processes import train_together
from aevb.distributed.strategy import environment, trainer_options
from aevb.distributed.world import Meeting, is_one_of_many, rank
from aevb.errors import ConfigError, Interrupted, LockedError, NonFiniteLossError, Pruned, RankFailedError, Stopped
from aevb.runs.folder import RunFolder
from aevb.runs.lock import Lock
from aevb.runs.status import now
from aevb.training import learning_rate_search
from aevb.training.callbacks import AtomicCheckpointIO, Checkpoint, Interruption, Status
from aevb.training.loggers import GuardedLogger, MetricsFile, make_logger
from aevb.training.module import AEVB

log = logging.getLogger("aevb")
record = logging.getLogger("aevb.record")  # to train.log alone: the terminal gets the same as the last line

PRECISIONS = ("highest", "high", "medium")


def train(config: DictConfig) -> float | None:
    """Train, test with the best checkpoint, and return the metric that `metric` names.

    In a sweep, a job that was trained before is not trained again, and one that fails returns None: the sweep's table
    says why.

    Raises:
        ConfigError: a setting makes no sense.
        Stopped: the run was interrupted or failed; its folder says so.
    """
    if rank():
        follow()
        return None
    folder = RunFolder(os.path.relpath(config.paths.run))
    claimed = None
    try:
        with Lock(folder.path):
            try:
                claimed = claim(config, folder)
            finally:
                announce(folder, is_to_train=claimed is not None)
            if claimed is not None and not fit(claimed, folder):
                return None
            return result(folder, config.metric)
    except LockedError as error:
        announce(folder, is_to_train=False)
        if not is_job():
            raise ConfigError(f"resume: {error}") from error
        log.info("skipped: another process is training it: %s", folder.path.name)
        return None


def announce(folder: RunFolder, is_to_train: bool) -> None:
    """Tell the other processes, if torchrun or srun has started some, what this one, the first, has found."""
    if is_one_of_many():
        Meeting().announce(folder.path if is_to_train else None)


def fit(config: DictConfig, folder: RunFolder) -> bool:
    """Train a claimed run, in this process or in several; returns whether it came to its end.

    Raises:
        ConfigError, Stopped: it did not, and is no job of a sweep, or was interrupted.
    """
    try:
        with recorded(folder):
            count = count_processes(config)
            if count > 1:
                folder.write_hydra()
                train_together(folder.path, count)
            else:
                fit_and_test(config, folder)
    except (ConfigError, Stopped) as error:
        if not is_job() or (isinstance(error, Stopped) and error.exit_code >= 128):
            raise
        print(error if isinstance(error, Stopped) else f"error: {error}", file=sys.stderr)
        return False
    return True


def follow() -> None:
    """Train together with the first of the processes that torchrun or srun has started; it has the run folder."""
    path = Meeting().attend()
    if path is None:
        return
    leave_train_log()
    folder = RunFolder(path)
    with recorded(folder):
        fit_and_test(folder.config(), folder)


def leave_train_log() -> None:
    """Leave train.log to the first process."""
    for logger in (logging.getLogger(), record):
        for handler in [handler for handler in logger.handlers if isinstance(handler, logging.FileHandler)]:
            logger.removeHandler(handler)


def result(folder: RunFolder, metric: str) -> float | None:
    """A metric of the best validation or of the test; None where the run has not come so far."""
    value: float | None = folder.status().get("results", {}).get(metric)
    return value


def count_processes(config: DictConfig) -> int:
    """How many processes are to be started on this machine: as many as the trainer wants devices.

    Raises:
        ConfigError: the trainer's settings make no sense, or need processes on other machines.
    """
    if is_one_of_many():
        return 1
    quiet_lightning()
    trainer: pl.Trainer = instantiate(
        config.trainer, max_epochs=-1, logger=False, enable_checkpointing=False, plugins=[environment()]
    )
    if trainer.num_nodes > 1:
        raise ConfigError(
            f"trainer.num_nodes must be 1 where the processes are not started by torchrun or srun, got "
            f"{trainer.num_nodes}"
        )
    require_shared(config, trainer)
    return trainer.world_size


def require_shared(config: DictConfig, trainer: pl.Trainer) -> None:
    """Raise a `ConfigError` where the processes cannot share a minibatch equally."""
    if config.data.batch_size % trainer.world_size:
        raise ConfigError(
            f"data.batch_size must be a multiple of {trainer.world_size}, the number of processes that share a "
            f"minibatch, got {config.data.batch_size}"
        )


@contextmanager
def recorded(folder: RunFolder) -> Iterator[None]:
    """Write to status.json and train.log how what happens within ends; the first of several processes does.

    A trial that is pruned ends here: it has a result.

    Raises:
        Stopped: it was interrupted, or failed for a reason other than a `ConfigError`.
    """
    write_status: Callable[..., None] = folder.write_status if rank() == 0 else lambda **fields: None
    write_status(state="running", ended=None, error=None)
    try:
        yield
    except (Interrupted, KeyboardInterrupt, SystemExit) as stop:  # Lightning makes a SystemExit of Ctrl-C
        what = str(stop) if isinstance(stop, Interrupted) else "interrupted"
        write_status(state="interrupted", ended=now(), error=None)
        record.warning(what)
        raise Stopped(
            f"{what}; continue with: python train.py resume={shlex.quote(str(folder.path))}", exit_code_of(stop)
        ) from stop
    except Pruned as pruned:
        write_status(state="pruned", ended=now(), results={"val/elbo": pruned.best_elbo})
        log.info("%s", pruned)
        return
    except Exception as error:
        message = first_line(error)
        write_status(state="failed", ended=now(), error=message)
        if isinstance(error, ConfigError):
            record.error(message)
            raise
        if not isinstance(error, NonFiniteLossError | RankFailedError):
            log.exception("failed")
            raise Stopped(f"error: {message}", 1) from error
        record.error(message)
        kept = f"; the last good state is {folder.last_checkpoint}" if folder.last_checkpoint.exists() else ""
        raise Stopped(f"error: {message}{kept}", 1) from error
    write_status(state="finished", ended=now())


def exit_code_of(error: BaseException) -> int:
    """128 + the signal's number for an interruption, 0 for a trial that was pruned, 1 for anything else."""
    if isinstance(error, Interrupted):
        return 128 + error.signum
    if isinstance(error, Pruned):
        return 0
    return 128 + signal.SIGINT if isinstance(error, KeyboardInterrupt | SystemExit) else 1


def fit_and_test(config: DictConfig, folder: RunFolder) -> None:
    """Everything between a claimed run folder and its end, in each of the processes that train together."""
    quiet_lightning()
    set_matmul_precision(config)
    data = prepared_data(config, folder)
    if config.optimizer.lr is None:
        learning_rate_search.choose(config, folder, data, make_module)
    module = make_module(config, data)
    resumed: dict[str, Any] = folder.load_checkpoint("last")[1] if folder.last_checkpoint.exists() else {}
    resumed_samples = resumed.get("samples", 0)
    loggers = make_loggers(config, folder, resumed.get("metrics_rows", 0))
    status = Status(lambda samples: folder.write_status(samples=samples))
    trainer = make_trainer(config, folder, loggers, status)
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
            if isinstance(logger, GuardedLogger):
                logger.finish(exit_code, folder.best_checkpoint)
    if rank() == 0:
        measured = {"images_per_second": status.images_per_second} if status.images_per_second else {}
        folder.write_status(results=results, **measured)
        summary.print_end(folder, module, results, loggers)


def set_matmul_precision(config: DictConfig) -> None:
    """Choose how float32 matrices are multiplied in this process; raises a `ConfigError` for an unknown precision."""
    try:
        torch.set_float32_matmul_precision(choice(config.matmul_precision, "matmul_precision", PRECISIONS))
    except ValueError as error:
        raise ConfigError(str(error)) from error


def prepared_data(config: DictConfig, folder: RunFolder) -> InMemoryDataModule:
    """The data module, its data loaded; what the data decide is written to the run's configuration."""
    data: InMemoryDataModule = instantiate(config.data)
    try:
        data.prepare_data()
        data.setup()
    except ValueError as error:
        raise ConfigError(str(error)) from error
    found: dict[str, Any] = {}
    if config.data.shape is None:
        found["data.shape"] = list(data.shape)
    if OmegaConf.select(config, "model.likelihood.bounded") == "auto":
        lowest, highest = data.value_range
        found["model.likelihood.bounded"] = lowest >= 0 and highest <= 1
    for key, value in found.items():
        OmegaConf.update(config, key, value)
    if found and rank() == 0:
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
    head = module.vae.p.head
    try:
        for chunk in (chunk for split in data.splits for chunk in split.x.split(500)):
            head.check(to_float(chunk))
        head.adapt_to(*data.value_range)
    except ValueError as error:
        is_count = head.support is constraints.nonnegative_integer
        hint = "; uint8 is read as x / 255: save counts as int64"
        raise ConfigError(f"{error}{hint if is_count and data.is_uint8 else ''}") from error
    try:
        module.configure_optimizers()
    except (TypeError, ValueError) as error:
        raise ConfigError(f"optimizer: {error}") from error
    x, _ = data.examples("val", 2)
    with torch.no_grad():
        found = module.objective.evaluate(module.vae.p, module.vae.q, x).metrics()
    metrics = ["val/elbo", *(f"test/{name}" for name in found if name != "loss")]
    if config.metric not in metrics:
        raise ConfigError(f"metric must be one of {', '.join(metrics)}, got {config.metric!r}")


def make_loggers(config: DictConfig, folder: RunFolder, metrics_rows: int) -> list[Logger]:
    """The run folder's own metrics file, cut to the rows of the last checkpoint, and the logger that was chosen."""
    if rank():
        return []
    metrics = MetricsFile(folder.metrics_file)
    metrics.file.truncate(metrics_rows)
    status = folder.status()
    chosen = make_logger(config.logger, id=status["id"], resumed_after=status.get("resumed_after"))
    return [metrics] if chosen is None else [metrics, chosen]


def log_settings(config: DictConfig, loggers: list[Logger]) -> None:
    """Give every logger what was asked; a wandb run starts here, so that none is left open by an earlier error."""
    asked: Any = OmegaConf.to_container(config, resolve=True)
    del asked["module"]  # says nothing that its parts do not say
    for logger in loggers:
        logger.log_hyperparams(asked)


def make_trainer(config: DictConfig, folder: RunFolder, loggers: list[Logger], status: Status) -> pl.Trainer:
    """Lightning's trainer, with the callbacks in the order in which they must see a block end."""
    chosen = {name: node for name, node in config.callbacks.items() if node is not None and "_target_" in node}
    folders = {"images": folder.images, "checkpoint": folder.last_checkpoint.parent}
    callbacks = {
        name: instantiate(node, **({"folder": str(folders[name])} if name in folders else {}))
        for name, node in chosen.items()
    }
    checkpoint = callbacks.pop("checkpoint", None) or Checkpoint(folder.last_checkpoint.parent)
    trainer: pl.Trainer = instantiate(
        config.trainer,
        max_epochs=-1 if config.trainer.max_epochs is None else config.trainer.max_epochs,
        callbacks=[*callbacks.values(), status, checkpoint, Interruption(checkpoint)],
        logger=loggers or False,
        default_root_dir=str(folder.path),
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        **trainer_options(AtomicCheckpointIO()),
    )
    require_shared(config, trainer)
    return trainer


def run_trainer(
    trainer: pl.Trainer, module: AEVB, data: InMemoryDataModule, folder: RunFolder, resumed_samples: int
) -> dict[str, float]:
    """Fit, and test with the best weights; returns the best validation's and the test's metrics."""
    last = str(folder.last_checkpoint) if resumed_samples else None
    trainer.fit(module, data, ckpt_path=last, weights_only=True)
    if module.validated_samples != module.samples_seen:
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
        "sync_dist=True",
    ):
        warnings.filterwarnings("ignore", f".*{re.escape(hint)}.*")

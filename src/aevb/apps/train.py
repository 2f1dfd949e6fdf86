"""`train.py`: fit, test, and leave a complete run folder."""

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.loggers import Logger

from aevb.apps import learning_rate_search, summary
from aevb.apps.assembly import (
    log_settings,
    make_loggers,
    make_module,
    make_trainer,
    prepared_data,
    quiet_lightning,
)
from aevb.apps.command import Command
from aevb.apps.resume import start_or_resume
from aevb.data import InMemoryDataModule
from aevb.data.module import require_equal_shares
from aevb.distributed.devices import num_processes
from aevb.distributed.processes import train_together
from aevb.distributed.world import is_one_of_many, publish, published, rank
from aevb.errors import (
    EXPECTED,
    ConfigError,
    LockedError,
    NonFiniteLossError,
    OtherRunError,
    Stopped,
    first_line,
    last_line,
)
from aevb.files import remove_temporaries, require_own_files
from aevb.runs.folder import RunFolder
from aevb.runs.load import build
from aevb.runs.lock import locked
from aevb.runs.log import logged
from aevb.runs.outcome import exit_code_of, recorded, write_end
from aevb.settings import validate
from aevb.training.callbacks import Status
from aevb.training.limits import ended_by
from aevb.training.loggers import GuardedLogger
from aevb.training.module import AEVB
from aevb.training.precision import set_matmul_precision
from aevb.training.steps.products import fast_products

log = logging.getLogger("aevb")


def train(config: DictConfig) -> float | None:
    """Train, test with the best checkpoint, and return the metric that `metric` names.

    In a sweep, finished jobs are not trained again, and a failed job returns None; the sweep's table gives the reason.
    """
    if rank():
        follow()
        return None
    command = Command.of(config)
    try:
        with open_run(command) as run_config:
            if run_config is not None:
                fit_in_processes(command, run_config)
    except LockedError as error:
        if not command.is_job:
            key = "hydra.run.dir" if config.resume is None else "resume"
            raise ConfigError(f"{key}: {error}") from error
        log.info("skipped: another process is training it: %s", command.folder.path.name)
        return None
    except (ConfigError, Stopped) as error:
        was_interrupted = isinstance(error, Stopped) and error.exit_code >= 128
        if not command.is_job or was_interrupted or isinstance(error, OtherRunError):
            raise
        print(last_line(error), file=sys.stderr)
        return None
    value: float | None = command.folder.status().get("results", {}).get(config.metric)
    return value


@contextmanager
def open_run(command: Command) -> Iterator[DictConfig | None]:
    """Lock the run folder, log to it, and record the outcome of the run in it.

    Yields:
        The configuration to train by, None where nothing is left to train.

    Raises:
        LockedError: another process trains the run.
        ConfigError: the folder cannot be used, or belongs to another run.
    """
    folder, run_config = command.folder, None
    with ExitStack() as stack:
        try:
            require_own_files(folder.path)
            stack.enter_context(locked(folder.path))
            stack.enter_context(logged(folder.log_file, command.line))
            remove_temporaries(folder.path)
            run_config = start_or_resume(command)
        except OSError as error:
            raise ConfigError(f"hydra.run.dir: {folder.path} cannot be used: {error.strerror or error}") from error
        except ConfigError as error:
            if command.is_job and not isinstance(error, OtherRunError):
                write_end(folder, state="failed", error=str(error))
            raise
        finally:
            announce(folder, is_to_train=run_config is not None)
        if run_config is not None:
            stack.enter_context(recorded(folder))
        yield run_config


def fit_in_processes(command: Command, config: DictConfig) -> None:
    """Train in this process, or start one process for each device and wait for them."""
    validate(config, "train")
    count = 1 if is_one_of_many() else num_processes(config.trainer)
    if count == 1:
        fit_and_test(config, command.folder)
    else:
        require_equal_shares(config.data.batch_size, count)
        command.folder.write_hydra(command.hydra)
        train_together(command.folder.path, count, command.folder.status()["samples"])


def announce(folder: RunFolder, is_to_train: bool) -> None:
    """Publish the run folder, or None, to the other processes that torchrun or srun has started, if any."""
    if is_one_of_many():
        publish(folder.path if is_to_train else None)


def follow() -> None:
    """Train as one of the processes that torchrun or srun has started, in the run folder that rank 0 publishes."""
    path = published()
    if path is not None:
        folder = RunFolder(path)
        with recorded(folder):
            fit_and_test(folder.config(), folder)


@fast_products()
def fit_and_test(config: DictConfig, folder: RunFolder) -> None:
    """Train, test with the best weights, and write the results; called in every rank."""
    quiet_lightning()
    set_matmul_precision(config.matmul_precision, config.trainer.get("precision"), config.trainer.get("accelerator"))
    data = prepared_data(config, folder)
    if config.optimizer.lr is None:
        learning_rate_search.choose(config, folder, data)
    resumed: dict[str, Any] = folder.load_checkpoint("last")[1] if folder.last_checkpoint.exists() else {}
    if resumed:
        build(config, resumed)  # refuses a model that is larger than its checkpoint before memory is allocated
    module = make_module(config, data)
    module.logs_itself = False
    loggers = make_loggers(config, folder, resumed)
    status = Status(lambda samples: folder.write_status(samples=samples))
    trainer = make_trainer(config, folder, loggers, status)
    summary.print_start(config, folder, module, data, trainer, resumed.get("samples", 0))
    with logging_started(loggers, config, folder):
        with checkpoint_errors(module, resumed, folder):
            trainer.fit(module, data, ckpt_path=str(folder.last_checkpoint) if resumed else None, weights_only=True)
        reason = ended_by(trainer, module)
        if not module.samples_seen:
            raise ConfigError(f"{reason} ends the run before its first minibatch")
        results = test(trainer, module, data, folder)
    if rank() == 0:
        measured = {"images_per_second": status.images_per_second} if status.images_per_second else {}
        folder.write_status(results=results, ended_by=reason, **measured)
        summary.print_end(folder, module, data, results, loggers, reason)


@contextmanager
def checkpoint_errors(module: AEVB, resumed: dict[str, Any], folder: RunFolder) -> Iterator[None]:
    """Attribute unexpected errors before the first sample of a resumed run to its checkpoint, as a `ConfigError`."""
    try:
        yield
    except (*EXPECTED, OSError):
        raise
    except Exception as error:
        if not resumed or module.samples_seen > resumed["samples"]:
            raise
        raise ConfigError(f"{folder.last_checkpoint} does not fit the run: {first_line(error)}") from error


@contextmanager
def logging_started(loggers: list[Logger], config: DictConfig, folder: RunFolder) -> Iterator[None]:
    """Start the loggers with the configuration, and finish them with the exit code of the training."""
    exit_code, guarded = 0, [logger for logger in loggers if isinstance(logger, GuardedLogger)]
    try:
        log_settings(config, loggers)
        yield
    except BaseException as error:
        exit_code = exit_code_of(error)
        if isinstance(error, NonFiniteLossError):
            for logger in guarded:
                logger.alert(f"{folder.path.name} diverged", str(error))
        raise
    finally:
        for logger in guarded:
            logger.finish(exit_code, folder.best_checkpoint)


def test(trainer: pl.Trainer, module: AEVB, data: InMemoryDataModule, folder: RunFolder) -> dict[str, float]:
    """The metrics of the best validation, and of the test with its weights."""
    if module.validated_samples != module.samples_seen:
        trainer.validate(module, data, verbose=False)
    best = folder.load_checkpoint("best")[1]
    try:
        module.load_state_dict(best["state_dict"])
        found = best["callbacks"]["Checkpoint"]
        results = {"val/elbo": float(found["best_elbo"])}
        if len(module.members) > 1:
            results["val/elbo_se"] = float(found["best_elbo_se"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{folder.best_checkpoint} does not fit the run") from error
    trainer.test(module, data, verbose=False)
    return results | {
        name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("test/")
    }

"""The outcome of a run, written to its status.json."""

import logging
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from aevb.config import program
from aevb.distributed.world import rank
from aevb.errors import (
    ConfigError,
    Interrupted,
    NonFiniteLossError,
    Pruned,
    Stopped,
    WorkerFailedError,
    file_error,
    first_line,
    is_out_of_memory,
)
from aevb.runs.folder import RunFolder
from aevb.runs.status import now

log = logging.getLogger("aevb")


@contextmanager
def recorded(folder: RunFolder) -> Iterator[None]:
    """Record the outcome of the run inside the context in status.json; only rank 0 writes.

    `Pruned` is suppressed, as a pruned trial has a result.

    Raises:
        ConfigError: a setting is invalid.
        Stopped: the run was interrupted, or failed for another reason.
    """
    try:
        yield
        if rank() == 0:
            folder.require_whole()
            folder.write_status(state="finished", ended=now(), error=None)
    except (Interrupted, KeyboardInterrupt, SystemExit) as stop:  # Lightning turns Ctrl-C into a SystemExit
        reason = str(stop) if isinstance(stop, Interrupted) else "interrupted"
        write_end(folder, state="interrupted", error=None)
        raise Stopped(
            f"{reason}; continue with: {program('train')} resume={shlex.quote(str(folder.path))}", exit_code_of(stop)
        ) from stop
    except Pruned as pruned:
        write_end(folder, state="pruned", results={"val/elbo": pruned.best_elbo})
        log.info("%s", pruned)
    except ConfigError as error:
        write_end(folder, state="failed", error=first_line(error))
        raise
    except OSError as error:
        write_end(folder, state="failed", error=file_error(error))
        raise Stopped(f"error: {file_error(error)}", 1) from error
    except (NonFiniteLossError, WorkerFailedError) as error:
        write_end(folder, state="failed", error=first_line(error))
        kept = f"; the last good state is {folder.last_checkpoint}" if folder.last_checkpoint.exists() else ""
        raise Stopped(f"error: {first_line(error)}{kept}", 1) from error
    except Exception as error:
        write_end(folder, state="failed", error=first_line(error))
        if is_out_of_memory(error):
            raise Stopped(f"error: {first_line(error)}; lower data.batch_size or objective.num_samples", 1) from error
        log.exception("failed")
        raise Stopped(f"error: {first_line(error)}", 1) from error


def write_end(folder: RunFolder, **fields: Any) -> None:
    """Write the outcome if the folder still exists and is writable; errors must not hide the one that ended the run."""
    if rank():
        return
    with suppress(OSError, ConfigError):
        folder.write_status(ended=now(), **fields)


def exit_code_of(error: BaseException) -> int:
    """128 + signal number for an interruption, 0 for a pruned trial, 1 for anything else."""
    if isinstance(error, Interrupted):
        return 128 + error.signum
    if isinstance(error, Pruned):
        return 0
    return 128 + signal.SIGINT if isinstance(error, KeyboardInterrupt | SystemExit) else 1

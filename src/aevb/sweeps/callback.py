"""Start and end of a sweep, for all launchers: a table of its jobs, and an exit code."""

import atexit
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from aevb.distributed.world import is_one_of_many
from aevb.errors import LockedError, fail
from aevb.runs.find import find_runs
from aevb.runs.lock import locked
from aevb.runs.metrics import write_csv
from aevb.sweeps.jobs import end
from aevb.sweeps.table import as_text, table


class Sweep(Callback):
    """A Hydra callback that prints a table of all jobs at the end of a sweep, and writes it to `table.csv`.

    It does so also after an interruption. If the jobs are logged to wandb, so is the table. The exit code is 1 if a job
    failed.
    """

    def __init__(self) -> None:
        self.folder = Path()
        self.failures: dict[str, str] = {}
        """Reasons of jobs that could not run, by the names of their folders."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        if is_one_of_many():
            fail("error: a sweep starts its processes itself; run it without torchrun or srun", 2)
        if config.resume is not None:
            fail("error: resume: the same command again continues a sweep; drop resume, or -m", 2)
        # Resolved for the whole command here; the resolvers cache the names for the jobs.
        self.folder = Path(config.hydra.sweep.dir)
        OmegaConf.select(config, "hydra.sweep.subdir")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            fail(f"error: hydra.sweep.dir: {self.folder}: {error.strerror}", 2)
        with read_write(config), open_dict(config):
            if config.hydra.sweeper._target_.endswith(".BasicSweeper"):
                config.hydra.sweeper._target_ = "hydra_plugins.aevb_sweepers.GridSweeper"
            elif config.hydra.sweeper._target_.endswith(".OptunaSweeper"):
                config.hydra.sweeper._target_ = "hydra_plugins.aevb_sweepers.SearchSweeper"
                self.prepare_search(config)
        signal.signal(signal.SIGTERM, end)  # by default, processes that run jobs would continue
        if "joblib" in str(config.hydra.launcher._target_):
            signal.signal(signal.SIGINT, end)  # also ends joblib's processes, without a traceback
        atexit.register(self.end)

    def prepare_search(self, config: DictConfig) -> None:
        """Set up the remaining trials of Optuna's sweeper in the writable `config`, and lock the sweep's folder.

        The number of known trials is added to the sampler's seed: with the same seed it would propose them again.
        """
        from aevb.sweeps.search import continue_study  # needs an extra

        lock = ExitStack()
        atexit.register(lock.close)
        try:
            lock.enter_context(locked(self.folder))
        except LockedError as error:
            fail(f"error: sweep: {error}", 2)
        sweeper = config.hydra.sweeper
        first: Any = OmegaConf.to_container(config.sweep.first_trials)
        left, known = continue_study(sweeper.storage, sweeper.study_name, sweeper.direction, sweeper.n_trials, first)
        print(f"sweep   {left:,} of {sweeper.n_trials:,} trials to do, in {self.folder}", flush=True)
        sweeper.n_trials = left
        if sweeper.sampler.get("seed") is not None:
            sweeper.sampler.seed += known

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        atexit.unregister(self.end)
        rows = self.end()
        exit_code = int(any(row["state"] in ("failed", "unusable") for row in rows))
        for logger in config.logger.values() if rows else ():
            if logger is None or not str(logger.get("_target_")).endswith("WandbLogger"):
                continue
            from aevb.training.loggers import log_sweep_table  # imports torch

            settings = {name: logger[name] for name in ("project", "entity", "group", "tags", "offline")}
            where = log_sweep_table(self.folder, rows, exit_code, **settings)
            print(f"wandb  {where}", flush=True)
        if exit_code:
            sys.exit(exit_code)

    def end(self) -> list[dict[str, Any]]:
        """Print and write the table; returns its rows."""
        runs = [run for path in self.folder.iterdir() for run in find_runs(path)]  # through links, too
        rows = table(sorted(runs, key=lambda run: run.path), failures=self.failures)
        if rows:
            write_csv(self.folder / "table.csv", list(rows[0]), rows)
            print(f"\n{self.folder}\n\n{as_text(rows)}\n", flush=True)
        return rows

"""What a sweep says when it has ended: the table of its jobs, and an exit code."""

import atexit
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from aevb.apps import fail
from aevb.distributed.world import is_one_of_many
from aevb.errors import LockedError
from aevb.runs.find import find_runs
from aevb.runs.lock import Lock
from aevb.sweeps.jobs import end
from aevb.sweeps.table import as_text, table, write_csv
from aevb.training.loggers import log_sweep_table


class Sweep(Callback):
    """A Hydra callback that makes a sweep one thing, whichever launcher runs its jobs.

    The table of all jobs in the sweep's folder is printed and written to `table.csv` when the sweep ends, also when it
    is interrupted; where the jobs are logged to wandb, it is logged there, too. The exit code is 1 if a job failed.
    """

    def __init__(self) -> None:
        self.folder = Path()
        self.stack = ExitStack()
        """What ends with this process."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        if is_one_of_many():
            print("error: a sweep starts its processes itself; run it without torchrun or srun", file=sys.stderr)
            sys.exit(2)
        # Both names are known now, of the whole command, and what the jobs' configurations take over from this one.
        self.folder = Path(config.hydra.sweep.dir)
        OmegaConf.select(config, "hydra.sweep.subdir")
        if str(config.hydra.sweeper._target_).endswith("OptunaSweeper"):
            self.prepare_search(config)
        signal.signal(signal.SIGTERM, end)  # by default it would leave behind the processes that run jobs
        if "joblib" in str(config.hydra.launcher._target_):
            signal.signal(signal.SIGINT, end)  # it ends those of joblib's, too, and without a traceback
        atexit.register(self.end)
        atexit.register(self.stack.close)

    def prepare_search(self, config: DictConfig) -> None:
        """Let Optuna's sweeper do what is left of its trials, in this process alone.

        Its sampler gets a seed by the trials that there are: with the same again it would propose the same trials.
        """
        from aevb.sweeps.search import continue_study  # needs an extra

        try:
            self.stack.enter_context(Lock(self.folder))
        except LockedError as error:
            fail(f"error: sweep: {error}", 2)
        sweeper = config.hydra.sweeper
        first: Any = OmegaConf.to_container(config.sweep.first_trials)
        left, known = continue_study(sweeper.storage, sweeper.study_name, sweeper.direction, sweeper.n_trials, first)
        with read_write(config), open_dict(config):
            sweeper.n_trials = left
            if sweeper.sampler.get("seed") is not None:
                sweeper.sampler.seed += known

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        atexit.unregister(self.end)
        rows = self.end()
        exit_code = int(any(row["state"] == "failed" for row in rows))
        if rows and str(config.logger.get("_target_")).endswith("WandbLogger"):
            settings = {name: config.logger[name] for name in ("project", "entity", "group", "tags", "offline")}
            where = log_sweep_table(self.folder, rows, list(rows[0]), **settings, exit_code=exit_code)
            print(f"wandb  {where}", flush=True)
        if exit_code:
            sys.exit(exit_code)

    def end(self) -> list[dict[str, Any]]:
        """Print and write the table; returns its rows."""
        rows = table(find_runs(self.folder))
        if rows:
            write_csv(rows, self.folder / "table.csv")
            print(f"\n{self.folder}\n\n{as_text(rows)}\n", flush=True)
        return rows

"""What a sweep says when it has ended: the table of its jobs, and an exit code."""

import atexit
import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from aevb.launch.table import as_text, run_folders, table, write_csv
from aevb.launch.world import is_one_of_many
from aevb.loggers import log_sweep_table


class Sweep(Callback):
    """A Hydra callback that makes a sweep one thing, whichever launcher runs its jobs.

    The table of all jobs in the sweep's folder is printed and written to `table.csv` when the sweep ends, also when it
    is interrupted; where the jobs are logged to wandb, it is logged there, too. The exit code is 1 if a job failed.
    """

    def __init__(self) -> None:
        self.folder = Path()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        if is_one_of_many():
            print("error: a sweep starts its processes itself; run it without torchrun or srun", file=sys.stderr)
            sys.exit(2)
        # Both names are known now, of the whole command, and what the jobs' configurations take over from this one.
        self.folder = Path(config.hydra.sweep.dir)
        OmegaConf.select(config, "hydra.sweep.subdir")
        atexit.register(self.end)

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
        rows = table(run_folders(self.folder))
        if rows:
            write_csv(rows, self.folder / "table.csv")
            print(f"\n{self.folder}\n\n{as_text(rows)}\n", flush=True)
        return rows

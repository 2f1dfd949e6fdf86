"""Hydra's own sweeper and Optuna's, extended; the callback `Sweep` substitutes them.

Hydra imports this file at every start, so heavy modules are imported when a sweep starts.
"""

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class GridSweeper(BasicSweeper):
    """Hydra's own sweeper, which announces its jobs, and continues when one fails."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from aevb.sweeps.launch import Jobs

        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self.launcher: Any = Jobs(self.launcher, hydra_context, config)

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Announce the jobs; Hydra's check composes all of them, which takes minutes for hundreds."""
        self.launcher.announce(batch)


class SearchSweeper(Sweeper):
    """Optuna's sweeper, which continues when trials fail, even all of them; takes the arguments of `OptunaSweeper`."""

    def __init__(self, **arguments: Any) -> None:
        from hydra_plugins.hydra_optuna_sweeper.optuna_sweeper import OptunaSweeper

        self.sweeper: Any = OptunaSweeper(**arguments).sweeper

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from aevb.sweeps.launch import Jobs

        self.sweeper.setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self.sweeper.launcher = Jobs(self.sweeper.launcher, hydra_context, config)

    def sweep(self, arguments: list[str]) -> None:
        from aevb.sweeps.search import has_result

        try:
            self.sweeper.sweep(arguments)
        except ValueError:
            if has_result(self.sweeper.storage, self.sweeper.study_name):
                raise
            # Without a finished trial Optuna finds no best one; the sweep's table gives the reasons.

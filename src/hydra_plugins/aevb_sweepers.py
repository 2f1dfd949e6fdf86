"""What is added to Hydra's own sweeper and to Optuna's; the callback of a sweep puts these in their place.

Hydra imports this file at every start, so what is heavy is imported when a sweep is started.
"""

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class GridSweeper(BasicSweeper):
    """Hydra's own sweeper, which says at once what there is to do, and which no failing job ends."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from aevb.sweeps.launch import Jobs

        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self.launcher: Any = Jobs(self.launcher, hydra_context, config)

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        self.launcher.announce(batch)
        self.launcher.check(batch)


class SearchSweeper(Sweeper):
    """Optuna's sweeper, which no failing trial ends, and not even the failure of all.

    Args:
        arguments: Of `OptunaSweeper`.
    """

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
            # Optuna looks for the best of no trials; the sweep's table says why each has failed.

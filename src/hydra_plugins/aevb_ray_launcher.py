"""`hydra/launcher=ray`: the jobs of a sweep as tasks of Ray, on this machine or on a cluster.

Hydra imports this file at every start, so what is heavy is imported when a sweep is launched.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class RayLauncher(Launcher):
    """Runs the jobs of a sweep as Ray's tasks, as many at once as the resources allow.

    Args:
        init: Arguments of `ray.init`, such as the address of a cluster.
        remote: What each job gets: arguments of Ray's `options`, such as `num_cpus`, `num_gpus` and `memory`.
    """

    def __init__(self, init: Mapping[str, Any], remote: Mapping[str, Any]) -> None:
        self.init: Any = OmegaConf.to_container(OmegaConf.create(dict(init)))
        self.remote: Any = OmegaConf.to_container(OmegaConf.create(dict(remote)))

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from aevb.sweeps.jobs import make_jobs, require

        require("ray", extra="ray")
        from aevb.sweeps.ray_jobs import run_jobs

        jobs = make_jobs(self.context, self.function, self.config, job_overrides, initial_job_idx)
        return run_jobs(jobs, self.init, self.remote)

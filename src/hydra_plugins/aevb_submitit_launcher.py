"""`hydra/launcher=submitit_slurm` and `submitit_local`: the jobs of a sweep as SLURM's jobs, or as processes here.

Hydra imports this file at every start, so what is heavy is imported when a sweep is launched.
"""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class SubmititLauncher(Launcher):
    """Runs the jobs of a sweep by submitit.

    Args:
        cluster: `slurm`, or `local`: processes of this machine.
        folder: For submitit's files and the jobs' output.
        jobs_at_once: So many jobs run at the same time.
        max_requeues: So often a job may be started again after a time-out or an interruption.
        parameters: What each job gets, by submitit's names: `cpus_per_task`, `mem_gb`, `timeout_min`,
            `slurm_partition` …
    """

    def __init__(self, cluster: str, folder: str, jobs_at_once: int, max_requeues: int, **parameters: Any) -> None:
        self.cluster = cluster
        self.folder = folder
        self.jobs_at_once = jobs_at_once
        self.max_requeues = max_requeues
        self.parameters: Any = OmegaConf.to_container(OmegaConf.create(parameters))

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from aevb.sweeps.jobs import make_jobs, require

        require("submitit", extra="submitit")
        from aevb.sweeps.submitit_jobs import run_jobs

        jobs = make_jobs(self.context, self.function, self.config, job_overrides, initial_job_idx)
        return run_jobs(jobs, self.cluster, self.folder, self.jobs_at_once, self.max_requeues, self.parameters)

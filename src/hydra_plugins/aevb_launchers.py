"""`hydra/launcher=ray`, `submitit_slurm` and `submitit_local`: the jobs of a sweep on a cluster, or as local processes.

Hydra imports this file at every start, so heavy modules are imported when a sweep is launched.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from aevb.sweeps.jobs import Cluster


class OnCluster(ABC):
    """Submits the jobs of a sweep, and waits for them."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from aevb.sweeps.jobs import Job, run_jobs

        cluster = self.cluster()
        numbered = enumerate(job_overrides, initial_job_idx)
        jobs = [Job(number, list(each), self.config, self.context, self.function) for number, each in numbered]
        return run_jobs(jobs, cluster)

    @abstractmethod
    def cluster(self) -> "Cluster":
        """The cluster that runs the jobs."""


class RayLauncher(OnCluster, Launcher):
    """Runs the jobs of a sweep as tasks of Ray, as many at once as the resources allow.

    Args:
        init: Arguments of `ray.init`, such as the address of a cluster.
        remote: Resources of each job: arguments of Ray's `options`, such as `num_cpus`, `num_gpus` and `memory`.
    """

    def __init__(self, init: Mapping[str, Any], remote: Mapping[str, Any]) -> None:
        self.init: Any = OmegaConf.to_container(OmegaConf.create(dict(init)))
        self.remote: Any = OmegaConf.to_container(OmegaConf.create(dict(remote)))

    def cluster(self) -> "Cluster":
        from aevb.sweeps.jobs import require

        require("ray", extra="ray")
        from aevb.sweeps.on_ray import RayCluster

        return RayCluster(self.init, self.remote)


class SubmititLauncher(OnCluster, Launcher):
    """Runs the jobs of a sweep with submitit.

    Args:
        cluster: `slurm`, or `local` for processes of this machine.
        folder: For submitit's files and the jobs' output.
        jobs_at_once: Maximum number of concurrent jobs.
        max_requeues: Maximum number of requeues of a job after time-outs and interruptions.
        parameters: Resources of each job, by submitit's names: `cpus_per_task`, `mem_gb`, `timeout_min`,
            `slurm_partition` …
    """

    def __init__(self, cluster: str, folder: str, jobs_at_once: int, max_requeues: int, **parameters: Any) -> None:
        self.name = cluster
        self.folder = folder
        self.jobs_at_once = jobs_at_once
        self.max_requeues = max_requeues
        self.parameters: Any = OmegaConf.to_container(OmegaConf.create(parameters))

    def cluster(self) -> "Cluster":
        from aevb.sweeps.jobs import require

        require("submitit", extra="submitit")
        from aevb.sweeps.on_submitit import SubmititCluster

        return SubmititCluster(self.name, self.folder, self.jobs_at_once, self.max_requeues, self.parameters)

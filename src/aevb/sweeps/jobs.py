"""The jobs of a sweep on a cluster: created so that any process can run them, submitted, and awaited."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, filter_overrides, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from aevb.errors import ConfigError, JobFailedError, fail, first_line
from aevb.runs.status import read_status

CARRIED = ("AEVB_", "WANDB_", "NETRC")
"""Prefixes of the environment variables that a job takes to another machine."""


@dataclass
class Job:
    """One job of a sweep; `job()` runs it in any process, as Hydra's own launcher would.

    It is pickled with the command's working directory, search path and environment, and Hydra's state.

    Args:
        number: Index of the job in its sweep.
        overrides: The overrides of the job.
        sweep: The configuration of the sweep, with the `hydra` node.
        context: Hydra's loader and callbacks.
        function: The program.
    """

    number: int
    overrides: list[str]
    sweep: DictConfig
    context: HydraContext
    function: TaskFunction
    folder: str = field(default_factory=os.getcwd)
    search_path: list[str] = field(default_factory=lambda: list(sys.path))
    environment: dict[str, str] = field(
        default_factory=lambda: {name: value for name, value in os.environ.items() if name.startswith(CARRIED)}
    )
    singletons: Any = field(default_factory=Singleton.get_state)

    def __call__(self) -> JobReturn:
        """Run the job; an exception is returned in a form that any process can unpickle."""
        os.chdir(self.folder)
        sys.path += [path for path in self.search_path if path not in sys.path]
        os.environ.update(self.environment)
        setup_globals()
        Singleton.set_state(self.singletons)
        signal.signal(signal.SIGTERM, end)
        result = run_job(
            task_function=self.function,
            config=self.config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
            hydra_context=self.context,
        )
        if result.status == JobStatus.FAILED:
            return self.failed(first_line(result._return_value))
        return result

    @cached_property
    def config(self) -> DictConfig:
        """Its configuration, with the `hydra` node; composed where it runs, as hundreds would take minutes."""
        config = self.context.config_loader.load_sweep_config(self.sweep, self.overrides)
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = self.number
        return config

    @property
    def name(self) -> str:
        """Its number and overrides, for messages."""
        return f"#{self.number} {' '.join(filter_overrides(self.overrides))}"

    @property
    def run_folder(self) -> Path:
        """Its run folder."""
        return Path(self.config.hydra.sweep.dir) / self.config.hydra.sweep.subdir

    def failed(self, reason: str) -> JobReturn:
        """The result of a job that failed without one."""
        return JobReturn(overrides=self.overrides, status=JobStatus.FAILED, _return_value=JobFailedError(reason))


def end(signum: int, frame: FrameType | None) -> None:
    """Exit on a signal; during training, a handler of the run saves the state first."""
    raise SystemExit(128 + signum)


class Cluster(Protocol):
    """Runs jobs in other processes."""

    at_once: int
    """Maximum number of submitted jobs."""

    def submit(self, jobs: Sequence[Job]) -> Sequence[Any]:
        """Submit jobs, and return a handle of each."""

    def wait(self, running: Mapping[int, Any]) -> Mapping[int, JobReturn | str]:
        """The results of jobs that have ended, by the keys of their handles; a reason where a job has no result."""

    def cancel(self, handles: Sequence[Any]) -> None:
        """Interrupt jobs, so that they save their state."""

    def close(self) -> None:
        """Leave the cluster."""


def run_jobs(jobs: Sequence[Job], cluster: Cluster) -> list[JobReturn]:
    """Submit jobs, print the outcome of each, and return their results in order.

    A job that ends without a result counts as failed. Ctrl-C interrupts all of them: they save their state first.
    """
    waiting = list(range(len(jobs)))
    running: dict[int, Any] = {}
    results: dict[int, JobReturn] = {}
    try:
        while len(results) < len(jobs):
            if batch := waiting[: cluster.at_once - len(running)]:
                running |= zip(batch, cluster.submit([jobs[index] for index in batch]), strict=True)
                waiting = waiting[len(batch) :]
            for index, result in cluster.wait(running).items():
                results[index] = jobs[index].failed(result) if isinstance(result, str) else result
                report(jobs[index], results[index])
                del running[index]
    except KeyboardInterrupt:
        cluster.cancel(list(running.values()))
        raise
    finally:
        cluster.close()
    return [results[index] for index in range(len(jobs))]


def report(job: Job, result: JobReturn) -> None:
    """Print the outcome of a job."""
    if result.status == JobStatus.FAILED:
        print(f"{job.name}: {first_line(result._return_value)}", file=sys.stderr, flush=True)
        return
    try:
        status = read_status(job.run_folder / "status.json")
    except ConfigError:
        status = {}
    reason = f": {status['error']}" if status.get("error") else ""
    print(f"{job.name}: {status.get('state', 'done')}{reason}", flush=True)


def require(module: str, extra: str) -> None:
    """Exit with a line that names the extra if a module is not installed."""
    if find_spec(module) is None:
        fail(f"error: hydra/launcher needs {module}; install it with: pip install 'aevb[{extra}]'", 2)

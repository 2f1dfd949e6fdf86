"""The jobs of a sweep, packed so that a process elsewhere can run them: what the launchers for clusters share."""

import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, filter_overrides, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from aevb.config import first_line
from aevb.errors import JobFailedError, fail

CARRIED = ("AEVB_", "WANDB_", "NETRC")
"""What the names of the environment variables start with that a job takes along to another machine."""


@dataclass
class Job:
    """One job of a sweep; `job()` runs it in the process that has it, as Hydra's own launcher would.

    It is pickled, so it holds what the process lacks: the folder, module search path and environment of the command,
    and Hydra's global state.

    Args:
        number: Of the job in its sweep, from 0.
        overrides: What it is asked.
        config: Its configuration, with the `hydra` node.
        context: Hydra's loader and callbacks.
        function: What runs a configuration.
    """

    number: int
    overrides: list[str]
    config: DictConfig
    context: HydraContext
    function: TaskFunction
    folder: str = field(default_factory=os.getcwd)
    search_path: list[str] = field(default_factory=lambda: list(sys.path))
    environment: dict[str, str] = field(
        default_factory=lambda: {name: value for name, value in os.environ.items() if name.startswith(CARRIED)}
    )
    singletons: Any = field(default_factory=Singleton.get_state)

    def __call__(self) -> JobReturn:
        """Run the job; an exception of the job is returned, as one that any process can read.

        Raises:
            SystemExit: a signal ended it; the code is 128 + the signal's number.
        """
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

    @property
    def name(self) -> str:
        """Its number and overrides, for a person."""
        return f"#{self.number} {' '.join(filter_overrides(self.overrides))}"

    @property
    def run_folder(self) -> Path:
        """Where its run is."""
        return Path(self.config.hydra.sweep.dir) / self.config.hydra.sweep.subdir

    def failed(self, reason: str) -> JobReturn:
        """The result of a job that has none of its own."""
        return JobReturn(
            overrides=self.overrides, cfg=self.config, status=JobStatus.FAILED, _return_value=JobFailedError(reason)
        )


def end(signum: int, frame: FrameType | None) -> None:
    """Leave the process as a signal asks; while a run trains, its own handler saves it first."""
    raise SystemExit(128 + signum)


def make_jobs(
    context: HydraContext,
    function: TaskFunction,
    config: DictConfig,
    job_overrides: Sequence[Sequence[str]],
    first_number: int,
) -> list[Job]:
    """The jobs of a batch of a sweep, whose folder is made here.

    Args:
        context: Hydra's loader and callbacks.
        function: What runs a configuration.
        config: Of the sweep.
        job_overrides: For each job.
        first_number: Of the first job.
    """
    Path(config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
    jobs = []
    for number, overrides in enumerate(job_overrides, first_number):
        job_config = context.config_loader.load_sweep_config(config, list(overrides))
        with open_dict(job_config):
            job_config.hydra.job.id = job_config.hydra.job.num = number
        jobs.append(Job(number, list(overrides), job_config, context, function))
    return jobs


def report(job: Job, result: JobReturn) -> JobReturn:
    """Say how a job ended, and hand its result on.

    A job whose training failed has said so in its run folder, and the sweep's table will. Where a job as such was
    lost, its result ends the sweep with exit code 1, once the launcher has those of the other jobs.
    """
    if result.status == JobStatus.FAILED:
        print(f"{job.name}: {first_line(result._return_value)}", file=sys.stderr, flush=True)
        result.return_value = SystemExit(1)
        return result
    try:
        status = json.loads((job.run_folder / "status.json").read_text())
    except (OSError, ValueError):
        status = {}
    reason = f": {status['error']}" if status.get("error") else ""
    print(f"{job.name}: {status.get('state', 'done')}{reason}", flush=True)
    return result


def require(module: str, extra: str) -> None:
    """Stop with a line that names the extra, where a module is not installed.

    Raises:
        SystemExit: it is not.
    """
    if find_spec(module) is None:
        fail(f"error: hydra/launcher needs {module}; install it with: pip install 'aevb[{extra}]'", 2)

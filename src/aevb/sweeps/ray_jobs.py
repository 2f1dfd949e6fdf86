"""Jobs of a sweep given to Ray, and waited for."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from hydra.core.utils import JobReturn

from aevb.config import first_line
from aevb.errors import fail
from aevb.sweeps.jobs import Job, report


def run_jobs(jobs: Sequence[Job], init: Mapping[str, Any], options: Mapping[str, Any]) -> list[JobReturn]:
    """Run jobs as Ray's tasks and wait for their results; a job that is lost has a result that says so.

    A job whose process or machine dies is started again by Ray, elsewhere if need be, and continues its run folder.
    Ctrl-C ends them all: they save themselves first.

    Args:
        jobs: In order.
        init: Arguments of `ray.init`.
        options: What each job gets: `num_cpus`, `num_gpus` …

    Raises:
        SystemExit: there is no such cluster, or Ray refuses the arguments.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    start(init)
    try:
        task = ray.remote(run).options(**options)
    except (TypeError, ValueError) as error:
        fail(f"error: hydra.launcher.remote: {first_line(error)}", 2)
    try:
        running = {task.remote(job): index for index, job in enumerate(jobs)}
        results: dict[int, JobReturn] = {}
        try:
            while running:
                (ready,), _ = ray.wait(list(running), num_returns=1)
                index = running.pop(ready)
                results[index] = report(jobs[index], result_of(ready, jobs[index]))
        except KeyboardInterrupt:
            end(list(running))
            raise
        return [results[index] for index in range(len(jobs))]
    finally:
        ray.shutdown()


def start(init: Mapping[str, Any]) -> None:
    """Start Ray, or join a cluster. Ray gives itself half a minute; a busy machine may need more, so three times that.

    Raises:
        SystemExit: there is no such cluster, or Ray refuses the arguments.
    """
    for attempts_left in (2, 1, 0):
        try:
            ray.init(**init)
            return
        except Exception as error:  # Ray raises bare ones
            ray.shutdown()
            if not attempts_left or not re.search("timed out|timeout", str(error)):
                fail(f"error: hydra.launcher.init: {first_line(error)}", 2)


def run(job: Job) -> JobReturn:
    """What a worker of Ray does; an interrupted job is no reason for Ray to take its worker for broken."""
    try:
        return job()
    except SystemExit as stop:
        return job.failed(f"interrupted (exit code {stop.code})")


def result_of(ready: "ray.ObjectRef[JobReturn]", job: Job) -> JobReturn:
    """The result of a task that has ended, also of one that Ray has given up."""
    try:
        result: JobReturn = ray.get(ready)
        return result
    except ray.exceptions.RayError as error:
        return job.failed(first_line(error))


def end(running: Sequence["ray.ObjectRef[JobReturn]"]) -> None:
    """Interrupt tasks as Ctrl-C does, and wait until they have saved themselves."""
    for task in running:
        ray.cancel(task)
    ray.wait(list(running), num_returns=len(running), timeout=60)

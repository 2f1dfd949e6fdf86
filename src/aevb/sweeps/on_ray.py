"""Jobs of a sweep as tasks of Ray."""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from hydra.core.utils import JobReturn

from aevb.errors import fail, first_line
from aevb.sweeps.jobs import Job


class RayCluster:
    """Ray, on this machine or on a cluster.

    Ray restarts a job whose process or machine dies, possibly elsewhere, and the job continues its run folder.

    Args:
        init: Arguments of `ray.init`.
        options: Resources of each job: `num_cpus`, `num_gpus` …
    """

    at_once = sys.maxsize  # Ray queues them itself

    def __init__(self, init: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        start(init)
        try:
            self.task = ray.remote(run).options(**options)
        except (TypeError, ValueError) as error:
            fail(f"error: hydra.launcher.remote: {first_line(error)}", 2)

    def submit(self, jobs: Sequence[Job]) -> list[Any]:
        return [self.task.remote(job) for job in jobs]

    def wait(self, running: Mapping[int, Any]) -> dict[int, JobReturn | str]:
        (ready,), _ = ray.wait(list(running.values()), num_returns=1)
        number = next(number for number, task in running.items() if task == ready)
        try:
            return {number: ray.get(ready)}
        except ray.exceptions.RayError as error:  # Ray has given up on it
            return {number: first_line(error)}

    def cancel(self, tasks: Sequence[Any]) -> None:
        for task in tasks:
            ray.cancel(task)  # raises KeyboardInterrupt in it
        ray.wait(list(tasks), num_returns=len(tasks), timeout=60)

    def close(self) -> None:
        ray.shutdown()


def start(init: Mapping[str, Any]) -> None:
    """Start Ray, or join a cluster; up to three attempts, as a busy machine may exceed Ray's half minute."""
    for attempts_left in (2, 1, 0):
        try:
            ray.init(**init)
            return
        except Exception as error:  # Ray raises bare ones
            ray.shutdown()
            if not attempts_left or not re.search("timed out|timeout", str(error)):
                fail(f"error: hydra.launcher.init: {first_line(error)}", 2)


def run(job: Job) -> JobReturn:
    """Run a job in a worker of Ray; an interrupted job returns, as Ray takes a worker that exits for broken."""
    try:
        return job()
    except SystemExit as stop:
        return job.failed(f"interrupted (exit code {stop.code})")

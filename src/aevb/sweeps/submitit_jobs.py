"""Jobs of a sweep given to submitit, and waited for."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import submitit
from hydra.core.utils import JobReturn
from submitit.core.utils import pickle_load

from aevb.config import first_line
from aevb.errors import fail
from aevb.sweeps.jobs import Job, report
from aevb.sweeps.submitit_job import SubmititJob

LOOK_SECONDS = 1.0
"""Between two looks for results."""
ASK_SECONDS = 5.0
"""Between two questions to SLURM."""
GRACE_SECONDS = {"slurm": 30.0, "local": 2.0}
"""For the result of a job that has ended to appear, on a file system that is slow to tell."""
OVER = frozenset(
    ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "REVOKED", "TIMEOUT")
)
"""States in which SLURM is done with a job, unless it is requeued."""


def run_jobs(
    jobs: Sequence[Job],
    cluster: str,
    folder: str,
    jobs_at_once: int,
    max_requeues: int,
    parameters: Mapping[str, Any],
) -> list[JobReturn]:
    """Run jobs and wait for their results; a job that ends without one has a result that says so.

    Ctrl-C ends them all: they save themselves first.

    Args:
        jobs: In order.
        cluster: `slurm` or `local`.
        folder: For submitit's files and the jobs' output.
        jobs_at_once: So many run at the same time.
        max_requeues: So often a job may be started again.
        parameters: For submitit.

    Raises:
        SystemExit: submitit or SLURM refuses the parameters.
    """
    tasks = [SubmititJob(job, parameters.get("cpus_per_task", 1), max_requeues) for job in jobs]
    at_once = jobs_at_once
    if cluster == "slurm":  # which counts by itself
        parameters, at_once = {**parameters, "slurm_array_parallelism": jobs_at_once}, len(jobs)
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster, slurm_max_num_timeout=max_requeues)
        executor.update_parameters(**parameters)
    except Exception as error:
        fail(f"error: hydra.launcher: {first_line(error)}", 2)

    waiting = list(range(len(jobs)))
    running: dict[int, submitit.Job[JobReturn]] = {}
    results: dict[int, JobReturn] = {}
    queue = Queue(GRACE_SECONDS[cluster])
    try:
        while len(results) < len(jobs):
            if batch := waiting[: at_once - len(running)]:
                running |= zip(batch, submit(executor, [tasks[index] for index in batch]), strict=True)
                waiting = waiting[len(batch) :]
            time.sleep(LOOK_SECONDS)
            lost = queue.lost(list(running.values()))
            for index, job in list(running.items()):
                file = job.task(0).paths.result_pickle
                if file.exists():
                    outcome, value = pickle_load(file)
                    result = value if outcome == "success" else jobs[index].failed(value.strip().splitlines()[-1])
                elif job.job_id in lost:
                    seen = os.path.relpath(job.task(0).paths.stderr)
                    result = jobs[index].failed(f"ended without a result ({lost[job.job_id]}); see {seen}")
                else:
                    continue
                results[index] = report(jobs[index], result)
                del running[index]
    except KeyboardInterrupt:
        cancel(list(running.values()))
        raise
    return [results[index] for index in range(len(jobs))]


def submit(executor: submitit.AutoExecutor, tasks: Sequence[SubmititJob]) -> Sequence["submitit.Job[JobReturn]"]:
    """Submit tasks, as an array where that is more than one.

    Raises:
        SystemExit: SLURM refuses them.
    """
    try:
        with without_ctrl_c():
            return executor.submit_array(tasks)
    except submitit.core.utils.FailedJobError as error:
        fail(f"error: hydra.launcher: {str(error).strip().splitlines()[-1]}", 2)


@contextmanager
def without_ctrl_c() -> Iterator[None]:
    """Processes started within do not get Ctrl-C from the terminal: they are told to end by us, and once."""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


class Queue:
    """Which jobs have ended for good, as those tell who run them.

    Args:
        grace: Seconds that a job is given for its result to appear after it has ended.
    """

    def __init__(self, grace: float) -> None:
        self.grace = grace
        self.ended: dict[str, float] = {}
        self.asked = 0.0
        self.states: dict[str, str] = {}

    def lost(self, jobs: Sequence["submitit.Job[JobReturn]"]) -> dict[str, str]:
        """The last state of each job that ended more than the grace ago."""
        now = time.monotonic()
        if isinstance(jobs[0], submitit.SlurmJob):
            if now - self.asked > ASK_SECONDS:
                self.asked, self.states = now, slurm_states(jobs, self.states)
            over = {id: state for id, state in self.states.items() if state in OVER}
        else:
            over = {job.job_id: job.state for job in jobs if job.state != "RUNNING"}
        self.ended = {id: self.ended.get(id, now) for id in over}
        return {id: over[id] for id, since in self.ended.items() if now - since > self.grace}


def slurm_states(jobs: Sequence["submitit.Job[JobReturn]"], known: Mapping[str, str]) -> dict[str, str]:
    """What SLURM's controller says of jobs; what was known before where it does not answer.

    Not sacct, which needs an accounting database that not every cluster has.
    """
    ids = sorted({job.job_id.split("_")[0] for job in jobs})
    command = ["squeue", "--noheader", "--array", "--states=all", f"--jobs={','.join(ids)}", "--format=%i %T"]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode != 0 and "Invalid job id" not in answer.stderr:
        return dict(known)
    states = dict(line.split() for line in answer.stdout.splitlines())
    return {job.job_id: states.get(job.job_id, "COMPLETED") for job in jobs}  # it forgets jobs after a while


def cancel(jobs: Sequence["submitit.Job[JobReturn]"]) -> None:
    """End jobs as kindly as they can be ended, and wait for those of this machine."""
    processes = [job._process for job in jobs if isinstance(job, submitit.LocalJob) and job._process is not None]
    for process in processes:
        process.terminate()
    for job in jobs:
        if isinstance(job, submitit.SlurmJob):
            job.cancel(check=False)
    for process in processes:
        process.wait()

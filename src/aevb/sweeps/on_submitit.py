"""Jobs of a sweep with submitit: as jobs of SLURM, or as processes of this machine."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import submitit
from hydra.core.utils import JobReturn
from submitit.core.utils import DelayedSubmission, pickle_load

from aevb.errors import fail, first_line
from aevb.sweeps.jobs import Job, end

POLL_SECONDS = 1.0
"""Time between two checks for results."""
QUERY_SECONDS = 5.0
"""Time between two queries to SLURM."""
GRACE_SECONDS = {"slurm": 30.0, "local": 2.0}
"""Time for the result of an ended job to appear on a slow file system."""
OVER = frozenset(
    ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "REVOKED", "TIMEOUT")
)
"""States of SLURM in which a job has ended, unless it is requeued."""
TIME_OUT = signal.SIGUSR2
"""The signal before the time limit, sent by SLURM or, on one machine, by submitit."""
RESTART = 144
"""The exit code for which submitit's controller on one machine restarts a job."""
PATIENCE_SECONDS = 120
"""Time for SLURM to end a requeued job."""


class SubmititCluster:
    """SLURM, or this machine.

    Args:
        cluster: `slurm` or `local`.
        folder: For submitit's files and the jobs' output.
        jobs_at_once: Maximum number of concurrent jobs.
        max_requeues: Maximum number of requeues of a job.
        parameters: Parameters of submitit.
    """

    def __init__(
        self, cluster: str, folder: str, jobs_at_once: int, max_requeues: int, parameters: Mapping[str, Any]
    ) -> None:
        self.cpus, self.max_requeues = parameters.get("cpus_per_task", 1), max_requeues
        self.at_once, self.grace = jobs_at_once, GRACE_SECONDS[cluster]
        if cluster == "slurm":  # which limits concurrent jobs itself
            parameters, self.at_once = {**parameters, "slurm_array_parallelism": jobs_at_once}, sys.maxsize
        try:
            self.executor = submitit.AutoExecutor(folder=folder, cluster=cluster, slurm_max_num_timeout=max_requeues)
            self.executor.update_parameters(**parameters)
        except Exception as error:
            fail(f"error: hydra.launcher: {first_line(error)}", 2)
        self.ended: dict[str, float] = {}
        self.queried = 0.0
        self.states: dict[str, str] = {}

    def submit(self, jobs: Sequence[Job]) -> Sequence["submitit.Job[JobReturn]"]:
        """Submit jobs, several as an array."""
        try:
            with without_ctrl_c():
                return self.executor.submit_array([SubmititJob(job, self.cpus, self.max_requeues) for job in jobs])
        except submitit.core.utils.FailedJobError as error:
            fail(f"error: hydra.launcher: {str(error).strip().splitlines()[-1]}", 2)

    def wait(self, running: Mapping[int, "submitit.Job[JobReturn]"]) -> dict[int, JobReturn | str]:
        time.sleep(POLL_SECONDS)
        lost = self.lost(list(running.values()))
        found: dict[int, JobReturn | str] = {}
        for number, job in running.items():
            file = job.task(0).paths.result_pickle
            if file.exists():
                outcome, value = pickle_load(file)
                found[number] = value if outcome == "success" else value.strip().splitlines()[-1]
            elif job.job_id in lost:
                log = os.path.relpath(job.task(0).paths.stderr)
                found[number] = f"ended without a result ({lost[job.job_id]}); see {log}"
        return found

    def lost(self, jobs: Sequence["submitit.Job[JobReturn]"]) -> dict[str, str]:
        """The last state of each job that has ended without a result within the time for it to appear."""
        now = time.monotonic()
        if isinstance(jobs[0], submitit.SlurmJob):
            if now - self.queried > QUERY_SECONDS:
                self.queried, self.states = now, slurm_states(jobs, self.states)
            over = {id: state for id, state in self.states.items() if state in OVER}
        else:
            over = {job.job_id: job.state for job in jobs if job.state != "RUNNING"}
        self.ended = {id: self.ended.get(id, now) for id in over}
        return {id: over[id] for id, since in self.ended.items() if now - since > self.grace}

    def cancel(self, jobs: Sequence["submitit.Job[JobReturn]"]) -> None:
        """Terminate jobs, which save their state, and wait for those of this machine."""
        processes = [job._process for job in jobs if isinstance(job, submitit.LocalJob) and job._process is not None]
        for process in processes:
            process.terminate()
        for job in jobs:
            if isinstance(job, submitit.SlurmJob):
                job.cancel(check=False)
        for process in processes:
            process.wait()

    def close(self) -> None:
        """Do nothing."""


@contextmanager
def without_ctrl_c() -> Iterator[None]:
    """Let processes started within ignore Ctrl-C of the terminal: `cancel` terminates them."""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def slurm_states(jobs: Sequence["submitit.Job[JobReturn]"], known: Mapping[str, str]) -> dict[str, str]:
    """The states of jobs by SLURM's controller, or the previous ones if it does not answer.

    Not by sacct, which needs an accounting database that some clusters lack.
    """
    ids = sorted({job.job_id.split("_")[0] for job in jobs})
    command = ["squeue", "--noheader", "--array", "--states=all", f"--jobs={','.join(ids)}", "--format=%i %T"]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode != 0 and "Invalid job id" not in answer.stderr:
        return dict(known)
    states = dict(line.split() for line in answer.stdout.splitlines())
    return {job.job_id: states.get(job.job_id, "COMPLETED") for job in jobs}  # it forgets old jobs


@dataclass
class SubmititJob:
    """Runs a job, and requeues it after a time-out or an interruption; it then continues its run folder.

    A time-out (SIGUSR2) and `scancel --signal=TERM` leave SLURM's job running, so it requeues itself. `scontrol
    requeue`, preemption and `scancel` also send SIGTERM, but SLURM itself decides what follows.

    Args:
        job: The job.
        cpus: Number of threads.
        max_requeues: Maximum number of requeues, after which the job fails.
    """

    job: Job
    cpus: int
    max_requeues: int

    def __call__(self) -> JobReturn:
        """Run the job."""
        os.environ.setdefault("OMP_NUM_THREADS", str(self.cpus))
        signal.signal(TIME_OUT, as_termination)
        try:
            return self.job()
        except SystemExit as stop:
            if isinstance(stop.code, int) and stop.code > 128:
                if int(os.environ.get("SLURM_RESTART_COUNT", 0)) >= self.max_requeues:
                    return self.job.failed(f"interrupted after {self.max_requeues} requeues")
                requeue()
            raise

    def checkpoint(self) -> DelayedSubmission:
        """The callable that submitit submits again after a time-out before the job has started."""
        return DelayedSubmission(self)


def as_termination(signum: int, frame: FrameType | None) -> None:
    """Raise SIGTERM in this process, and record that the reason is a time-out."""
    os.environ["AEVB_TIMED_OUT"] = "1"
    os.kill(os.getpid(), signal.SIGTERM)


def requeue() -> None:
    """Requeue this job, unless it is being cancelled."""
    if os.environ.get("SUBMITIT_EXECUTOR") == "local":
        if os.environ.get("AEVB_TIMED_OUT"):
            sys.exit(RESTART)
        return
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # srun's, once the first task is gone
    if os.environ.get("SLURM_PROCID", "0") == "0":
        job = slurm_id()
        state = subprocess.run(["squeue", "-h", "-j", job, "-o", "%T"], capture_output=True, text=True).stdout.strip()
        if state != "RUNNING":
            return
        subprocess.run(["scontrol", "requeue", job], check=False)
    signal.signal(signal.SIGTERM, end)
    time.sleep(PATIENCE_SECONDS)


def slurm_id() -> str:
    """The id of this process's job in the form of SLURM's commands."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]

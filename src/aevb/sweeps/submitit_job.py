"""A job of a sweep as submitit runs it: it saves itself when its time is up, and asks to be started again."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from types import FrameType

from hydra.core.utils import JobReturn
from submitit.core.utils import DelayedSubmission

from aevb.sweeps.jobs import Job, end

TIME_OUT = signal.SIGUSR2
"""What submitit asks SLURM to send before the time is up, and sends itself on one machine."""
START_AGAIN = 144
"""The exit code by which submitit's own controller, on one machine, starts a job again."""
PATIENCE_SECONDS = 120
"""For SLURM to end a job that it was asked to start again."""


@dataclass
class SubmititJob:
    """Runs a job; when SLURM or the user ends it early, the job is saved, and started again where it makes sense.

    A time-out (SIGUSR2) and a SIGTERM by `scancel --signal=TERM` leave SLURM's job running, so it asks to be requeued.
    On `scontrol requeue`, preemption and `scancel`, which come as SIGTERM too, SLURM has decided already. A started
    again job finds its own run folder and continues it.

    Args:
        job: The job.
        cpus: Threads for it.
        max_requeues: It asks so often and fails then.
    """

    job: Job
    cpus: int
    max_requeues: int

    def __call__(self) -> JobReturn:
        """Run the job.

        Raises:
            SystemExit: it was ended early; there is no result then.
        """
        os.environ.setdefault("OMP_NUM_THREADS", str(self.cpus))
        signal.signal(TIME_OUT, as_termination)
        try:
            return self.job()
        except SystemExit as stop:
            if isinstance(stop.code, int) and stop.code > 128:
                if int(os.environ.get("SLURM_RESTART_COUNT", 0)) >= self.max_requeues:
                    return self.job.failed(f"interrupted after {self.max_requeues} requeues")
                start_again()
            raise

    def checkpoint(self) -> DelayedSubmission:
        """What submitit is to start again when a time-out comes before this has begun."""
        return DelayedSubmission(self)


def as_termination(signum: int, frame: FrameType | None) -> None:
    """Let a time-out end the job as SIGTERM does, and remember which of the two it was."""
    os.environ["AEVB_TIMED_OUT"] = "1"
    os.kill(os.getpid(), signal.SIGTERM)


def start_again() -> None:
    """Ask for this job to be started again, unless it is being ended for good."""
    if os.environ.get("SUBMITIT_EXECUTOR") == "local":
        if os.environ.get("AEVB_TIMED_OUT"):
            sys.exit(START_AGAIN)
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
    """The id of the job this process belongs to, as SLURM's commands want it."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]

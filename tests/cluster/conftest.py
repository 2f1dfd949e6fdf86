"""Schedulers for the tests: a SLURM of two nodes, both this machine."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from aevb.runs.folder import RunFolder

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests" / "cluster" / "slurm.sh"
PATIENCE = 600.0
"""Seconds for anything to happen: a slow machine is no failure."""
QUICK = {"COLUMNS": "200", "OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}
"""Ray's workers would give way to everything else on the machine."""
TINY = ["max_samples=2000", "model.encoder.hidden=[16]", "logger=none", "callbacks.images=null"]
LONG = ["max_samples=600000", *TINY[1:], "callbacks.checkpoint.every_samples=20000"]
"""Long enough to be ended in the middle: it takes seconds after the first checkpoint."""
ENDLESS = ["max_samples=1000000000", *TINY[1:]]


def why_no_slurm() -> str | None:
    """Why SLURM's daemons cannot be started here; None if they can."""
    if os.geteuid() != 0:
        return "SLURM's daemons are started as root"
    missing = [name for name in ("slurmctld", "slurmd", "munged", "sbatch") if shutil.which(name) is None]
    return f"{', '.join(missing)} not found; install with: {SCRIPT.relative_to(ROOT)} install" if missing else None


def wait_until(what: Callable[[], object], of: "Sweep | None" = None, patience: float = PATIENCE) -> None:
    """Wait until something is so; a sweep that has ended will not bring it about any more."""
    deadline = time.monotonic() + patience
    while not what():
        assert of is None or of.process.poll() is None, of.output()
        assert time.monotonic() < deadline, f"waited in vain\n{of.output() if of else ''}"
        time.sleep(0.1)


@dataclass
class Sweep:
    """A sweep that runs: `python train.py -m …`, its jobs' folders in `folder`."""

    folder: Path
    arguments: list[str]
    environment: dict[str, str]
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.log = self.folder.with_suffix(".log")
        command = [sys.executable, str(ROOT / "train.py"), "-m", *self.arguments, f"hydra.sweep.dir={self.folder}"]
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(
                command, cwd=self.folder.parent, env=self.environment, stdout=file, stderr=file
            )

    def output(self) -> str:
        """What the command has said, and its jobs."""
        logs = sorted(self.folder.glob(".submitit/*.err")) + sorted(self.folder.glob(".submitit/*.out"))
        return "\n".join(f"--- {log.name}\n{log.read_text()}" for log in [self.log, *logs] if log.exists())

    def end(self) -> int:
        """The exit code, once the command ends."""
        return self.process.wait(PATIENCE)

    def run(self, what: str) -> RunFolder:
        """The run folder whose name contains `what`."""
        (found,) = [path for path in self.folder.iterdir() if path.is_dir() and what in path.name]
        return RunFolder(found)

    def has_checkpoint(self, what: str) -> bool:
        """Whether the job whose folder's name contains `what` has saved its state."""
        return any(path.is_file() for path in self.folder.glob(f"*{what}*/checkpoints/last.ckpt"))

    def is_trained_by(self, what: str) -> int:
        """The process that trains the job whose folder's name contains `what`; 0: none."""
        files = {path.stat().st_ino for path in self.folder.glob(f"*{what}*/.lock")}
        held = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        return next((int(fields[4]) for fields in held if int(fields[5].split(":")[-1]) in files), 0)

    def job_ids(self) -> list[str]:
        """SLURM's ids of the jobs, in order."""
        names = [path.name.removesuffix("_submitted.pkl") for path in self.folder.glob(".submitit/*_submitted.pkl")]
        return sorted(names, key=lambda name: [int(part) for part in name.split("_")])


def assert_same_weights(runs: Sequence[RunFolder]) -> None:
    """Runs ended after as many samples with the same weights, bit for bit."""
    (first, *others) = [run.load_checkpoint("last")[1] for run in runs]
    for other in others:
        assert other["samples"] == first["samples"]
        assert all(torch.equal(value, other["state_dict"][name]) for name, value in first["state_dict"].items())


@pytest.fixture
def sweeps(tmp_path: Path) -> Iterator[Callable[..., Sweep]]:
    """Start sweeps; what still runs at the end is killed."""
    started: list[Sweep] = []

    def start(*arguments: str, **environment: str) -> Sweep:
        folder = tmp_path / f"sweep{len(started)}"
        sweep = Sweep(folder, [*arguments], os.environ | QUICK | environment)
        started.append(sweep)
        return sweep

    yield start
    for sweep in started:
        if sweep.process.poll() is None:
            sweep.process.kill()
            sweep.process.wait()


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment variables with which SLURM's commands find the cluster."""
    if reason := why_no_slurm():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("slurm")
    environment = {"SLURM_CONF": str(folder / "slurm.conf")}
    try:
        subprocess.run([str(SCRIPT), "start", str(folder)], check=True)
        yield environment
        subprocess.run(["scancel", "--user=root"], env=os.environ | environment, check=False)
        wait_until(lambda: not subprocess.check_output(["squeue", "--noheader"], env=os.environ | environment))
    finally:
        subprocess.run([str(SCRIPT), "stop", str(folder)], check=True)

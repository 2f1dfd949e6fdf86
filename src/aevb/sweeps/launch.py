"""Launching the jobs of a sweep: announcing them, and continuing when one fails."""

import sys
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from aevb.errors import ConfigError, JobFailedError, fail, first_line
from aevb.runs.lock import is_locked
from aevb.runs.status import read_status
from aevb.sweeps.callback import Sweep
from aevb.sweeps.names import earlier_names, job_name, varying


class Jobs:
    """The jobs of a sweep, run by any launcher; when one fails, the others continue.

    A job that raises, is lost, or has an unusable folder returns None, like one whose training failed. The table at the
    end gives the reasons.

    Args:
        launcher: A launcher of Hydra.
        context: Hydra's loader and callbacks.
        config: The configuration of the sweep, with the `hydra` node.
    """

    def __init__(self, launcher: Launcher, context: HydraContext, config: DictConfig) -> None:
        self.launcher, self.config = launcher, config
        callbacks = getattr(context.callbacks, "callbacks", [])
        self.failures = next((callback.failures for callback in callbacks if isinstance(callback, Sweep)), {})
        self.folder = Path(config.hydra.sweep.dir)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run jobs, and return their results in order."""
        results: dict[int, JobReturn] = {}
        usable = []
        for index, overrides in enumerate(job_overrides):
            folder = self.job_folder(overrides)
            if folder is not None and not folder.exists():
                self.take_over(overrides, folder)
            if folder is not None and not folder.is_dir() and (folder.exists() or folder.is_symlink()):
                error = JobFailedError(f"{folder} is not a folder; remove it, or name another sweep by sweep.name=…")
                print(f"error: {error}", file=sys.stderr, flush=True)
                results[index] = JobReturn(overrides=overrides, status=JobStatus.FAILED, _return_value=error)
            else:
                usable.append(index)
        if usable:
            try:
                returned = self.launcher.launch([job_overrides[index] for index in usable], initial_job_idx)
            except BrokenProcessPool:
                fail(
                    "error: sweep: a process of joblib was killed, perhaps for lack of memory, which ends all of them; "
                    "the same command continues the sweep, with fewer at once by hydra.launcher.n_jobs=…",
                    1,
                )
            results |= zip(usable, returned, strict=True)
        for index, result in results.items():
            if result.status == JobStatus.FAILED:
                name = self.job_folder(job_overrides[index]) or Path(" ".join(filter_overrides(job_overrides[index])))
                self.failures[name.name] = first_line(result._return_value)
                result.status, result.return_value = JobStatus.COMPLETED, None
        return [results[index] for index in range(len(job_overrides))]

    def announce(self, job_overrides: Sequence[Sequence[str]]) -> None:
        """Print how many jobs there are, and how many have finished."""
        folders = [self.job_folder(overrides) for overrides in job_overrides]
        done = sum(folder is not None and is_done(folder) for folder in folders)
        print(f"sweep   {len(folders):,} job(s), {done:,} finished already, in {self.folder}", flush=True)

    def job_folder(self, overrides: Sequence[str]) -> Path | None:
        """The run folder of a job; None where the user has set another name."""
        if "${job_name:" not in raw(self.config, "subdir"):
            return None
        return self.folder / job_name(overrides, self.keys())

    def keys(self) -> list[str]:
        """The keys that distinguish the jobs."""
        params = OmegaConf.select(self.config, "hydra.sweeper.params")
        return varying(list(self.config.hydra.overrides.task), params)

    def take_over(self, overrides: Sequence[str], folder: Path) -> None:
        """Move the job's run here from an earlier sweep that fixed what this one varies; a link replaces it there."""
        shared = self.config.sweep.name is not None or "${sweep_name:" not in raw(self.config, "dir")
        for sweep, job in earlier_names(self.config.hydra.runtime.choices.get("sweep"), overrides, self.keys()):
            found = self.folder / job if shared else self.folder.parent / sweep / job
            if found.is_symlink() or not (found / ".hydra" / "config.yaml").is_file() or is_locked(found):
                continue
            with suppress(OSError):  # then it is trained again
                self.folder.mkdir(parents=True, exist_ok=True)
                found.rename(folder)
                if not shared:
                    found.symlink_to(Path("..", self.folder.name, folder.name))
            return


def raw(config: DictConfig, key: str) -> str:
    """A setting of `hydra.sweep`, unresolved."""
    return str(OmegaConf.to_container(config.hydra.sweep, resolve=False)[key])  # type: ignore[call-overload,index]


def is_done(folder: Path) -> bool:
    """Whether a run is finished or pruned."""
    try:
        return read_status(folder / "status.json")["state"] in ("finished", "pruned")
    except ConfigError:
        return False

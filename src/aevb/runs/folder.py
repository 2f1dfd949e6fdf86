"""The run folder: the one interface between training, evaluation, reports and users.

.hydra/config.yaml overrides.yaml     configuration; with several processes also hydra.yaml, Hydra's own
train.log                             the output of the terminal
status.json                           progress, outcome, and test results
metrics.csv                           metrics against samples
members.csv                           the same of each seed, where there are several
checkpoints/last.ckpt best.ckpt       exact resume; best val/elbo
images/<samples>_<what>.png           samples, reconstructions, manifold
evaluation.json                       results of evaluate.py
"""

import errno
import shlex
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from aevb.errors import ConfigError
from aevb.files import atomic_write
from aevb.runs.formats import read_yaml
from aevb.runs.status import now, read_status, write_status
from aevb.runs.stored import read_config, stored_text


class RunFolder:
    """Paths and status of one run.

    Args:
        path: The folder; it need not exist yet.

    Attributes:
        id: Id of the run that this process has started or resumed; None before.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.id: str | None = None
        self.config_file = self.path / ".hydra" / "config.yaml"
        self.hydra_file = self.path / ".hydra" / "hydra.yaml"
        self.overrides_file = self.path / ".hydra" / "overrides.yaml"
        self.status_file = self.path / "status.json"
        self.metrics_file = self.path / "metrics.csv"
        self.members_file = self.path / "members.csv"
        self.log_file = self.path / "train.log"
        self.images = self.path / "images"
        self.last_checkpoint = self.path / "checkpoints" / "last.ckpt"
        self.best_checkpoint = self.path / "checkpoints" / "best.ckpt"

    @property
    def has_begun(self) -> bool:
        """Whether a run was created here: it has a status.json, which is written last, or a checkpoint."""
        written = self.status_file.exists() and self.status_file.stat().st_size > 0
        return written or self.last_checkpoint.exists() or self.best_checkpoint.exists()

    def create(self, config: DictConfig, overrides: Sequence[str] | None) -> None:
        """Write the configuration and the first status of a new run; the caller holds the folder's lock.

        A process that is killed before the status is written leaves no run, and the same command starts again.
        """
        if self.has_begun:
            raise ConfigError(
                f"hydra.run.dir: {self.path} already contains a run; name another folder, or continue it with "
                f"resume={shlex.quote(str(self.path))}"
            )
        self.begin(config, overrides, uuid.uuid4().hex[:8])

    def begin(self, config: DictConfig, overrides: Sequence[str] | None, run_id: str) -> None:
        """Write the configuration and the first status of a run, which may start anew with its previous id."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.config_file.parent.mkdir(exist_ok=True)
        self.overrides_file.unlink(missing_ok=True)
        if overrides is not None:
            self.write_overrides(overrides)
        self.write_config(config)
        self.id = run_id
        status = {"id": run_id, "state": "running", "samples": 0, "started": now(), "ended": None, "error": None}
        write_status(self.status_file, status)

    def resume(self, config: DictConfig, overrides: Sequence[str] | None = None) -> None:
        """Mark a run as running, and write the configuration with which it continues, and the command that makes it.

        A run that no command made has none; None keeps what is written. Results of an earlier end are those of fewer
        samples, and perhaps of another best checkpoint.
        """
        self.id = self.status()["id"]
        self.write_status(state="running", ended=None, error=None, results={}, ended_by=None)
        if overrides is not None and self.overrides_file.exists():
            self.write_overrides(overrides)
        self.write_config(config)

    def require_whole(self) -> None:
        """Raise a `FileNotFoundError` where a file of a complete run is missing."""
        for file in (self.status_file, self.config_file, self.last_checkpoint, self.best_checkpoint):
            if not file.is_file():
                raise FileNotFoundError(errno.ENOENT, "is missing at the end of the run", str(file))

    def write_config(self, config: DictConfig) -> None:
        """Write `.hydra/config.yaml`, with interpolations resolved."""
        atomic_write(self.config_file, stored_text(config))

    def write_overrides(self, overrides: Sequence[str]) -> None:
        """Write `.hydra/overrides.yaml`: the command that makes the run."""
        atomic_write(self.overrides_file, OmegaConf.to_yaml(OmegaConf.create(list(overrides))))

    def write_hydra(self, hydra: DictConfig) -> None:
        """Write `.hydra/hydra.yaml`: the values of `${hydra:…}` in the configuration."""
        atomic_write(self.hydra_file, OmegaConf.to_yaml({"hydra": hydra}))

    def config(self) -> DictConfig:
        """The stored configuration; a ConfigError where there is none, or it cannot be read."""
        if not self.config_file.exists():
            raise ConfigError(f"{self.path} is not a run folder: it has no .hydra/config.yaml")
        return read_config(self.config_file, self.path)

    def command(self) -> list[str] | None:
        """The overrides of the command that makes the run, with those that resumed it; None of one by `aevb.train`."""
        if not self.overrides_file.exists():
            return None
        command = read_yaml(self.overrides_file, self.path)
        if not isinstance(command, list) or not all(isinstance(override, str) for override in command):
            raise ConfigError(f"{self.overrides_file} cannot be read: it is not a list of overrides")
        return command

    def status(self) -> dict[str, Any]:
        """The content of status.json, see `aevb.runs.status`; a ConfigError where it is missing or damaged."""
        return read_status(self.status_file)

    def write_status(self, **fields: Any) -> None:
        """Update fields of status.json."""
        if not self.status_file.exists():
            raise FileNotFoundError(errno.ENOENT, "was removed while the run trained", str(self.path))
        status = self.status()
        if self.id not in (None, status.get("id")):
            raise FileNotFoundError(
                errno.ENOENT, "was replaced by that of another run while this one trained", str(self.path)
            )
        write_status(self.status_file, status | fields)

    def load_checkpoint(self, which: str) -> tuple[Path, dict[str, Any]]:
        """The path and content of the checkpoint `best` or `last`, see `aevb.runs.checkpoints`."""
        from aevb.runs.checkpoints import read_checkpoint  # imports torch, which takes seconds

        path = self.best_checkpoint if which == "best" else self.last_checkpoint
        if not path.exists():
            status = self.status() if self.status_file.exists() else {}
            state = f"; its state is {status['state']}" if status else ""
            reason = f": {status['error']}" if status.get("error") else ""
            raise ConfigError(f"{self.path} has no checkpoints/{path.name}{state}{reason}")
        return path, read_checkpoint(path, self.path)

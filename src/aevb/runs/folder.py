"""The run folder: the one interface between training, evaluation, reports and users.

.hydra/config.yaml overrides.yaml     what was asked; hydra.yaml, of Hydra, where several processes train
train.log                             what was said
status.json                           how far it came, how it ended, and what its test gave
metrics.csv                           what was measured
checkpoints/last.ckpt best.ckpt       exact resume; best val/elbo
images/<samples>_<what>.png           samples, reconstructions, manifold
evaluation.json                       what evaluate.py found
"""

import datetime
import json
import os
import shlex
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from aevb.config import first_line, instantiate, require_allowed
from aevb.errors import ConfigError
from aevb.files import atomic_write
from aevb.training.module import AEVB


class RunFolder:
    """Paths and status of one run.

    Args:
        path: The folder; it need not exist yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config_file = self.path / ".hydra" / "config.yaml"
        self.hydra_file = self.path / ".hydra" / "hydra.yaml"
        self.overrides_file = self.path / ".hydra" / "overrides.yaml"
        self.status_file = self.path / "status.json"
        self.metrics_file = self.path / "metrics.csv"
        self.images = self.path / "images"
        self.last_checkpoint = self.path / "checkpoints" / "last.ckpt"
        self.best_checkpoint = self.path / "checkpoints" / "best.ckpt"

    def create(self, config: DictConfig, overrides: Sequence[str]) -> None:
        """Claim the folder for a new run and write down what was asked.

        Raises:
            ConfigError: the folder holds a run already.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            os.close(os.open(self.status_file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        except FileExistsError:
            raise ConfigError(
                f"hydra.run.dir: {self.path} holds a run already; name another folder, or continue it with "
                f"resume={shlex.quote(str(self.path))}"
            ) from None
        self.begin(config, overrides)

    def begin(self, config: DictConfig, overrides: Sequence[str]) -> None:
        """Write down what was asked of a run that starts, or starts anew, in a folder that is claimed."""
        known = self.status() if self.status_file.stat().st_size else {}
        start = {"id": known.get("id", uuid.uuid4().hex[:8]), "samples": 0, "started": now()}
        self.write_status(state="running", **start, ended=None, error=None)
        self.write_config(config)
        atomic_write(self.overrides_file, OmegaConf.to_yaml(OmegaConf.create(list(overrides))))

    def write_config(self, config: DictConfig) -> None:
        """Write `.hydra/config.yaml`, interpolations kept."""
        self.config_file.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(self.config_file, OmegaConf.to_yaml(config))

    def write_hydra(self) -> None:
        """Write `.hydra/hydra.yaml`: what `${hydra:…}` stands for in the configuration."""
        atomic_write(self.hydra_file, OmegaConf.to_yaml({"hydra": HydraConfig.get()}))

    def config(self) -> DictConfig:
        """What was asked.

        Raises:
            ConfigError: this is no run folder, or its config cannot be read.
        """
        if not self.config_file.is_file():
            raise ConfigError(f"{self.path} is no run folder: it has no .hydra/config.yaml")
        try:
            config = OmegaConf.load(self.config_file)
        except Exception as error:
            raise ConfigError(f"{self.config_file} cannot be read: {first_line(error)}") from error
        if not isinstance(config, DictConfig):
            raise ConfigError(f"{self.config_file} cannot be read: it holds no mapping")
        return config

    def status(self) -> dict[str, Any]:
        """State (running, finished, interrupted, failed or pruned), samples, start, end and error of the run.

        A finished run also has `results`, the best validation's and the test's metrics by name, and
        `images_per_second`, of its training without validation.

        Raises:
            ConfigError: status.json is missing or damaged.
        """
        try:
            status: dict[str, Any] = json.loads(self.status_file.read_text())
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.status_file} cannot be read: {error}") from error
        return status

    def write_status(self, **fields: Any) -> None:
        """Update fields of status.json, atomically."""
        status = self.status() if self.status_file.exists() and self.status_file.stat().st_size else {}
        atomic_write(self.status_file, json.dumps(status | fields, indent=2) + "\n")

    def load_checkpoint(self, which: str) -> tuple[Path, dict[str, Any]]:
        """Read a checkpoint, `best` or `last`, without unpickling anything but tensors and plain values.

        Raises:
            ConfigError: the checkpoint is missing or damaged.
        """
        path = self.best_checkpoint if which == "best" else self.last_checkpoint
        if not path.is_file():
            raise ConfigError(f"{self.path} has no checkpoints/{path.name}")
        try:
            checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise ConfigError(f"{path} is damaged: {first_line(error)}") from error
        return path, checkpoint


def now() -> str:
    """The present time in ISO 8601, with the offset from UTC."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


def load_run(path: str | Path, checkpoint: str = "best", allow: Sequence[str] = ()) -> AEVB:
    """The trained model of a run folder, wherever the folder is now.

    A run folder is data: what its configuration names is built only if `aevb.config.ALLOWED_TARGETS` or `allow` has it,
    and checkpoints are read without unpickling code.

    Args:
        path: The run folder.
        checkpoint: `best` (highest val/elbo) or `last`.
        allow: Modules of your own that the configuration may name, such as `["my_heads"]`.

    Returns:
        The module in evaluation mode, on the CPU, with `elbo`, `log_marginal`, `encode`, `decode`, `sample` and
        `reconstruct`.

    Raises:
        ConfigError: the folder is no run, names what is not allowed, or its checkpoint is missing or damaged.
    """
    if checkpoint not in ("best", "last"):
        raise ConfigError(f"checkpoint must be best or last, got {checkpoint!r}")
    folder = RunFolder(path)
    config = folder.config()
    require_allowed(config.module, allow)
    file, state = folder.load_checkpoint(checkpoint)
    module: AEVB = instantiate(config.module)
    try:
        module.load_state_dict(state["state_dict"])
        module.on_load_checkpoint(state)
    except (KeyError, RuntimeError) as error:
        raise ConfigError(f"{file} does not fit the model of {folder.config_file}") from error
    return module.eval()

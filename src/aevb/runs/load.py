"""The trained model of a run folder."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch import Tensor

from aevb.config import instantiate, require_allowed
from aevb.errors import ConfigError, first_line
from aevb.runs.checkpoints import SizeLimit
from aevb.runs.folder import RunFolder
from aevb.vae import VAE


def load_run(path: str | Path, checkpoint: str = "best", allow: Sequence[str] = (), member: int = 0) -> VAE:
    """The trained model of a run folder, wherever the folder is now.

    A run folder is data: only classes in `aevb.config.PARTS` or `allow` are instantiated, and checkpoints are read
    without unpickling code.

    Args:
        path: The run folder.
        checkpoint: `best` (highest val/elbo) or `last`.
        allow: Your own modules whose classes may be instantiated, such as `["my_heads"]`.
        member: Which model of a run of several seeds, from 0.

    Returns:
        The model in evaluation mode, on the CPU.

    Raises:
        ConfigError: no run folder, a class that is not allowed, no such member, or a missing or damaged checkpoint.
    """
    (vae,), _ = load_members(RunFolder(Path(path).expanduser()), checkpoint, allow, member)
    return vae


def load_members(
    folder: RunFolder, checkpoint: str, allow: Sequence[str], member: int | None = None
) -> tuple[list[VAE], dict[str, Any]]:
    """The trained models of all members of a run, or of one, and their checkpoint."""
    if checkpoint not in ("best", "last"):
        raise ConfigError(f"checkpoint must be best or last, got {checkpoint!r}")
    config = folder.config()
    if "model" not in config:
        raise ConfigError(f"{folder.config_file} describes no model")
    require_allowed(config.model, allow)
    file, state = folder.load_checkpoint(checkpoint)
    weights = weights_of_members(state["state_dict"])
    if member is not None and not 0 <= member < len(weights):
        raise ConfigError(f"member must be from 0 to {len(weights) - 1}, the members of {folder.path}, got {member}")
    chosen = weights if member is None else [weights[member]]
    return [fill(build(config, state), of_member, file, folder.config_file) for of_member in chosen], state


def weights_of_members(weights: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The weights of each member's model: those of the first are `vae.…`, of the others `others.<number>.vae.…`."""
    found: dict[int, dict[str, Any]] = {0: {}}
    for name, weight in weights.items():
        match = re.fullmatch(r"(?:others\.(\d{1,6})\.)?vae\.(.+)", str(name))
        if match:
            member = 0 if match[1] is None else 1 + int(match[1])
            found.setdefault(member, {})[match[2]] = weight
    return [found[member] for member in sorted(found)]


def fill(vae: VAE, weights: Mapping[str, Tensor], file: Path, config_file: Path) -> VAE:
    """A model with the weights of a file, in evaluation mode; a ConfigError where they do not fit or are not finite."""
    try:
        vae.load_state_dict(weights)
    except (AttributeError, KeyError, TypeError, RuntimeError) as error:
        raise ConfigError(f"{file} does not fit the model of {config_file}") from error
    if not all(bool(parameter.isfinite().all()) for parameter in vae.parameters()):
        raise ConfigError(f"{file} has weights that are not finite")
    return vae.eval()


def build(config: DictConfig, checkpoint: Mapping[str, Any]) -> VAE:
    """The untrained model of a configuration; a ConfigError where it is too large for its checkpoint."""
    try:
        with SizeLimit(checkpoint["state_dict"]):
            vae: VAE = instantiate(config.model)
    except ConfigError:
        raise
    except Exception as error:  # exceptions for absurd sizes are not documented
        raise ConfigError(f"model cannot be that of the run's checkpoint: {first_line(error)}") from error
    return vae

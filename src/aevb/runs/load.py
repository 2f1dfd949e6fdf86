"""The trained model of a run folder."""

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


def load_run(path: str | Path, checkpoint: str = "best", allow: Sequence[str] = ()) -> VAE:
    """The trained model of a run folder, wherever the folder is now.

    A run folder is data: only classes in `aevb.config.PARTS` or `allow` are instantiated, and checkpoints are read
    without unpickling code.

    Args:
        path: The run folder.
        checkpoint: `best` (highest val/elbo) or `last`.
        allow: Your own modules whose classes may be instantiated, such as `["my_heads"]`.

    Returns:
        The model in evaluation mode, on the CPU.

    Raises:
        ConfigError: no run folder, a class that is not allowed, or a missing or damaged checkpoint.
    """
    return load_trained(RunFolder(path), checkpoint, allow)[0]


def load_trained(folder: RunFolder, checkpoint: str, allow: Sequence[str]) -> tuple[VAE, dict[str, Any]]:
    """The trained model of a run, as `load_run`, and its checkpoint."""
    if checkpoint not in ("best", "last"):
        raise ConfigError(f"checkpoint must be best or last, got {checkpoint!r}")
    config = folder.config()
    if "model" not in config:
        raise ConfigError(f"{folder.config_file} describes no model")
    require_allowed(config.model, allow)
    file, state = folder.load_checkpoint(checkpoint)
    vae = build(config, state)
    weights = {k.removeprefix("vae."): w for k, w in state["state_dict"].items() if str(k).startswith("vae.")}
    return fill(vae, weights, file, folder.config_file), state


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

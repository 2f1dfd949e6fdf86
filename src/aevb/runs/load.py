"""The trained model of a run folder."""

from collections.abc import Sequence
from pathlib import Path

from aevb.config import instantiate, require_allowed
from aevb.errors import ConfigError
from aevb.runs.folder import RunFolder
from aevb.training.module import AEVB


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

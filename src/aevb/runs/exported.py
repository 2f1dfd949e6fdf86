"""Exported models: a folder, or a model that comes with aevb.

config.json          model, data, results, command: what is known of it
model.safetensors    weights
README.md            model card
samples.png          means of p(x|z), z ~ p(z)
encoder.*, decoder.* graphs of torch.export and ONNX, with `formats`
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from safetensors import SafetensorError
from safetensors.torch import load as read_weights
from safetensors.torch import save as weights_of

from aevb.config import require_allowed
from aevb.errors import ConfigError, first_line
from aevb.files import atomic_write, open_file
from aevb.runs.load import build, fill
from aevb.runs.stored import read_config
from aevb.types import did_you_mean
from aevb.vae import VAE

CONFIG, WEIGHTS = "config.json", "model.safetensors"
MAX_BYTES = 1 << 36
ZOO = Path(__file__).parents[1] / "zoo"
"""Folders of the models that come with aevb."""
HUB = "hf://"


def load(name: str | Path, allow: Sequence[str] = ()) -> VAE:
    """An exported model: of a folder, of the Hugging Face hub, or one that comes with aevb.

    Nothing of it is executed: weights are numbers, and its configuration may name only parts of aevb and of `allow`.

    Example:
        >>> vae = load("digits")
        >>> vae.sample(2).shape
        torch.Size([2, 1, 8, 8])

    Args:
        name: A folder that `aevb export` wrote; `hf://<user>/<name>`; or digits, freyface or mnist.
        allow: Modules of your own that its configuration may name, such as `["my_heads"]`.

    Returns:
        The model in evaluation mode, on the CPU.

    Raises:
        ConfigError: there is no such model, it names what is not allowed, or its files are damaged.
    """
    folder = find(str(name))
    # The hub's cache has links to its blobs, two folders up.
    root = folder.parents[1] if str(name).startswith(HUB) else folder
    config, file = read_config(folder / CONFIG, root), folder / WEIGHTS
    if not isinstance(config.get("model"), DictConfig):
        raise ConfigError(f"{folder / CONFIG} describes no model")
    require_allowed(config.model, allow)
    try:
        with open_file(file, root, MAX_BYTES) as opened:
            weights = read_weights(opened.read())
    except SafetensorError as error:
        raise ConfigError(f"{file} is damaged: {first_line(error)}") from error
    return fill(build(config, {"state_dict": weights}), weights, file, folder / CONFIG)


def find(name: str) -> Path:
    """The folder of an exported model, downloaded where it is on the hub."""
    if name.startswith(HUB):
        from aevb.runs.hub import download  # an extra, and a second of imports

        return download(name.removeprefix(HUB))
    known = sorted(folder.name for folder in ZOO.iterdir() if (folder / CONFIG).is_file())
    if (Path(name) / CONFIG).is_file():
        return Path(name)
    if name in known:
        return ZOO / name
    if (Path(name) / ".hydra").is_dir():
        raise ConfigError(f"{name} is a run folder: load it by aevb.load_run, or export it by aevb export run={name}")
    hint = did_you_mean(name, known)
    raise ConfigError(
        f"there is no exported model {name}: no folder with a {CONFIG}, nor one of {', '.join(known)}{hint}"
    )


def write(folder: Path, vae: VAE, about: dict[str, Any]) -> None:
    """Write weights and configuration; `about` has `model`, the settings that the model is built from."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.detach().cpu().clone().contiguous() for name, weight in vae.state_dict().items()}
    atomic_write(folder / WEIGHTS, weights_of(weights, metadata={"format": "pt"}))
    atomic_write(folder / CONFIG, json.dumps(about, indent=2, ensure_ascii=False) + "\n")

"""The configurations of `train.py` without `hydra.main`, for notebooks and other programs."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

import aevb.sweeps.names  # noqa: F401 - registers the resolvers that name folders
from aevb.apps.command_line import add_own_conf, check_composed, composed, parse_override, require_single
from aevb.config import conf_folder

CHOICE = re.compile(r"\$\{hydra:runtime\.choices\.(\w+)\}")


def compose(overrides: Sequence[str] = (), config_dir: str | Path | None = None) -> DictConfig:
    """The validated configuration of a run, which can be changed, for `aevb.train`.

    Example:
        >>> config = compose(["data=digits", "model.latent_dim=5"])
        >>> config.model.latent_dim
        5

    Args:
        overrides: As after `train.py`, such as `["model=gaussian", "data=freyface", "seed=1"]`.
        config_dir: A folder with YAML files of your own, as `--config-dir`.

    Raises:
        ConfigError: the first invalid setting, in one line.
    """
    config = compose_unchecked(overrides, config_dir)
    with own_hydra():
        check_composed(config.copy(), "train", is_sweep=False)
    return without_hydra(config)


def compose_unchecked(overrides: Sequence[str], config_dir: str | Path | None = None) -> DictConfig:
    """The configuration of train.py with its `hydra` node; only options are checked, not values."""
    found = [parse_override(override) for override in overrides]
    require_single(found)
    with own_hydra(), initialize_config_dir(str(conf_folder()), version_base="1.3"):
        add_own_conf(config_dir)
        return composed("train", found, "train")


def options_of(target: str) -> list[str]:
    """The options of `data` of a class."""
    files = sorted((conf_folder() / "data").glob("*.yaml"))
    return [file.stem for file in files if f"_target_: {target}\n" in file.read_text("utf-8")]


def without_hydra(config: DictConfig) -> DictConfig:
    """A configuration without its `hydra` node; its run folder, of the same name, is created at first use."""
    run: Any = OmegaConf.to_container(config.hydra.run)
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    own.paths.run = CHOICE.sub(lambda match: str(config.hydra.runtime.choices[match[1]]), run["dir"])
    return own


@contextmanager
def own_hydra() -> Iterator[None]:
    """Isolate the state of Hydra's global objects from that of the caller, which may use Hydra as well."""
    loaded: Any = GlobalHydra.instance()
    settings: Any = HydraConfig.instance()
    kept, loaded.hydra = loaded.hydra, None
    kept_settings, settings.cfg = settings.cfg, None
    try:
        yield
    finally:
        # Hydra's own context restores a copy, in another object.
        GlobalHydra.instance().hydra, HydraConfig.instance().cfg = kept, kept_settings

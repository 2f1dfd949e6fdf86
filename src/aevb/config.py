"""Resolvers and safe instantiation for Hydra; imports nothing heavy, so that `--help` and tab completion are fast."""

import inspect
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.errors import InstantiationException
from hydra.utils import instantiate as hydra_instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from aevb.errors import ConfigError, first_line

PARTS = {
    "model": (
        "aevb.vae.VAE",
        "aevb.sequences.SequenceVAE",
        "aevb.likelihoods",
        "aevb.networks",
        "aevb.posteriors",
        "aevb.priors",
    ),
    "objective": ("aevb.objectives",),
    "optimizer": ("torch.optim",),
    "schedule": ("aevb.training.schedules", "torch.optim.lr_scheduler"),
    "data": ("aevb.data", "aevb.runs.encoded.Encoded"),
    "callbacks": (
        "aevb.training.callbacks",
        "aevb.estimators",
        "pytorch_lightning.callbacks.EarlyStopping",
        "pytorch_lightning.callbacks.LearningRateMonitor",
        "pytorch_lightning.callbacks.StochasticWeightAveraging",
        "pytorch_lightning.callbacks.Timer",
    ),
    "logger": (
        "aevb.training.loggers.WandbLogger",
        "pytorch_lightning.loggers.CSVLogger",
        "pytorch_lightning.loggers.MLFlowLogger",
        "pytorch_lightning.loggers.TensorBoardLogger",
    ),
    "trainer": (
        "pytorch_lightning.Trainer",
        "pytorch_lightning.profilers.AdvancedProfiler",
        "pytorch_lightning.profilers.SimpleProfiler",
    ),
}
"""Classes, or packages of classes, that each section of a run's configuration may instantiate. None of them executes
its arguments, or writes or sends to a place that `aevb.runs.stored.confine` does not check."""
EVERYTHING = tuple(name for names in PARTS.values() for name in names)


def instantiate(config: DictConfig, **arguments: Any) -> Any:
    """Instantiate the `_target_` of a config, as Hydra does.

    Raises:
        ConfigError: the target cannot be found, or refuses its arguments; its own message is kept.
    """
    key = config._get_full_key(None)
    try:
        return hydra_instantiate(config, **arguments)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, ValueError) or type(cause).__name__ == "MisconfigurationException":
            raise ConfigError(with_key(first_line(cause or error), error, config)) from error
        if cause is None or isinstance(cause, ImportError | AttributeError | TypeError):
            raise ConfigError(f"{key}: {first_line(cause or error)}") from error
        raise cause from error
    except OmegaConfBaseException as error:
        raise ConfigError(f"{key}: {first_line(error)}") from error


def with_key(message: str, error: InstantiationException, config: DictConfig) -> str:
    """The message, prefixed with the key of the node unless it starts with a full key."""
    found, root = re.search(r"^full_key: (\S+)$", str(error), re.MULTILINE), config._get_root()
    assert isinstance(root, DictConfig)
    key = found[1] if found else config._get_full_key(None)
    first = re.split(r"[ .:]", message)[0]
    if first in root:
        return message
    node = OmegaConf.select(root, key, default=None)
    is_argument = isinstance(node, DictConfig) and first in node
    return f"{key}.{message}" if is_argument else f"{key}: {message}"


def require_allowed(config: DictConfig, allow: Sequence[str] = ()) -> None:
    """Raise a `ConfigError` where a config has a target that is neither in the `PARTS` of its section nor in `allow`.

    The object that a target resolves to decides, not its spelling: `aevb.runs.find.os.system` is `posix.system`.
    Nothing outside of the lists is imported for this.

    Args:
        config: Any node; all `_target_` values below it are checked, also those behind interpolations.
        allow: Further modules, such as one with the user's own heads. Modules of aevb are ignored.
    """
    section = config._get_full_key(None).split(".")[0]
    for key, target in targets(config, section):
        if is_within(target, allow) and (missing := missing_module(target)):
            raise ConfigError(f"{key}: there is no {target}{missing}")
        if not is_allowed(key, target, allow):
            raise ConfigError(
                f"the run's configuration names {target}, which is not on the list of what may be instantiated"
                f"{f' as {key}' if key else ''}{advice(target)}"
            )


def advice(target: str) -> str:
    """How to allow a target; "" for the standard library and aevb, which are never allowed."""
    module = target.rpartition(".")[0]
    if not module or module.split(".")[0] in ("aevb", "builtins", *sys.stdlib_module_names):
        return ""
    return f"; if you trust it, allow its module: allow=[{module}]"


def is_allowed(section: str, target: str, allow: Sequence[str]) -> bool:
    """Whether `require_allowed` accepts a target."""
    parts = PARTS.get(section, EVERYTHING)
    others = [name for name in allow if not is_within(name, ["aevb"])]
    if not is_within(target, (*parts, *others)):
        return False
    found = resolve(target)
    name = f"{found.__module__}.{found.__qualname__}" if found is not None else ""
    if is_within(name, others):
        return True
    return inspect.isclass(found) and any(found is resolve(part) or is_within(name, [part]) for part in parts)


def targets(node: Any, section: str) -> Iterator[tuple[str, str]]:
    """All `_target_` values in a config with their sections, interpolations resolved."""
    if isinstance(node, DictConfig):
        if "_target_" in node:
            yield section, str(node["_target_"])
        for key in node:
            if not OmegaConf.is_missing(node, key):
                yield from targets(node[key], section or str(key))
    elif isinstance(node, ListConfig):
        for item in node:
            yield from targets(item, section)


def target_of(node: DictConfig) -> str:
    """The `_target_` of a node as it is written, be it an interpolation."""
    content: Any = OmegaConf.to_container(node)
    return str(content["_target_"])


def is_within(name: str, prefixes: Sequence[str]) -> bool:
    """Whether a dotted name is one of the prefixes, or is below one."""
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def resolve(target: str) -> Any:
    """The class or function with a dotted name; None where there is none."""
    try:
        found = resolve_name(target)
    except (ImportError, AttributeError, ValueError):
        return None
    return found if hasattr(found, "__qualname__") and hasattr(found, "__module__") else None


@cache
def unique_folder(path: str) -> str:
    """Create the folder `path`, or `path-2`, `path-3` … if it exists; later calls return the same folder."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    candidate, number = path, 1
    while True:
        try:
            Path(candidate).mkdir()
            return candidate
        except FileExistsError:
            number += 1
            candidate = f"{path}-{number}"


def option_groups(choices: Iterable[str]) -> str:
    """A line with the options of each group of a program, without Hydra's own groups."""
    loader = GlobalHydra.instance().config_loader()
    groups = sorted(group for group in map(str, choices) if not group.startswith("hydra/"))
    return "\n".join(f"  {group}: {', '.join(loader.get_group_options(group))}" for group in groups)


def latent_dim(default: int | None, *, _parent_: DictConfig) -> int | None:
    """The dimensions of z: the sum over the layers or steps of a model that has several, else the default."""
    layers, per_step = _parent_.get("latent_dims"), _parent_.get("step_dim")
    if isinstance(layers, ListConfig) and all(isinstance(size, int) for size in layers):
        return sum(layers)
    shape = _parent_.get("data_shape") if isinstance(per_step, int) else None
    return per_step * shape[0] if shape and isinstance(shape[0], int) else default


def conf_folder() -> Path:
    """The folder of YAML files: within the installed package, or at the top of a checkout."""
    package = Path(__file__).parent
    return package / "conf" if (package / "conf").is_dir() else package.parents[1] / "conf"


def program(name: str) -> str:
    """How a program is called: `aevb train` where aevb is installed, `python train.py` in a checkout."""
    is_installed = conf_folder().parent == Path(__file__).parent
    return f"aevb {name}" if is_installed else f"python {name}.py"


def missing_module(target: str) -> str:
    """What to do where the module of a dotted name cannot be found; empty where it can."""
    module = target.partition(".")[0]
    try:
        found = find_spec(module) is not None
    except (ImportError, ValueError):
        found = False
    return "" if found else (
        f": no module {module} can be imported; start the program in the folder that has {module}.py, or set "
        "PYTHONPATH=<that folder>"
    )  # fmt: skip


def latent_maps(shape: Any, channels: Any, halvings: Any) -> ListConfig | None:
    """Dimensions of each layer of latent maps over an image.

    None where its shape is not known, or where the arguments do not fit, which the parts of the model refuse.
    """
    if shape is None:
        return None
    try:
        areas = [math.prod(-(-side // 2**count) for side in shape[1:]) for count in halvings]
        return ListConfig([count * area for count, area in zip(channels, areas, strict=True)])
    except (TypeError, ValueError):
        return None


def register_resolvers() -> None:
    """Register the resolvers of the YAML files.

    `${reverse:list}` reverses a list. `${unless:a,b}` is null where a is set, else b. `${latent_dim:n}` is n, or the
    sum of `latent_dims` beside it, or `step_dim` times the steps of the data; `${latent_maps:shape,channels,halvings}`
    are the dimensions of maps. `${run_folder:resume,path}` is the folder to resume, else a new folder at path.
    `${option_groups:choices}` lists the groups of a program with their options. `${program:train}` is how train.py is
    called here.
    """
    resolvers: dict[str, Callable[..., Any]] = {
        "reverse": lambda values: ListConfig(list(values)[::-1]) if isinstance(values, list | ListConfig) else values,
        "unless": lambda condition, value: value if condition is None else None,
        "run_folder": lambda resume, path: str(resume) if resume is not None else unique_folder(path),
        "option_groups": option_groups,
        "program": program,
        "latent_dim": latent_dim,
        "latent_maps": latent_maps,
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)


register_resolvers()

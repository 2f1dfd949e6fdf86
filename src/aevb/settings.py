"""Validation of the configuration: each key's value by its type, before torch is imported.

The types of a class's arguments are those of its signature, see `aevb.signatures`; the tables are in `aevb.schemas`.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from aevb.config import conf_folder, missing_module, target_of
from aevb.errors import ConfigError, first_line
from aevb.schemas import DATA_PATHS, LACKING, NARROWED, RENAMED, REQUIRED, SCHEMAS, Part, Parts, Refused
from aevb.signatures import Signature, names_near, signature_of, source
from aevb.types import (
    Opaque,
    check,
    did_you_mean,
    shown,
    simplified,
    takes_objects,
)

HYDRA_KEYS = {"_target_": str, "_partial_": bool, "_args_": list, "_convert_": str, "_recursive_": bool}


def validate(config: DictConfig, program: str, has_data: bool = False) -> None:
    """Validate a composed configuration.

    Args:
        config: Without the `hydra` node.
        program: train, evaluate, report or export.
        has_data: Whether the data are at hand, whatever the configuration says of a file.

    Raises:
        ConfigError: an unknown key or an invalid value; one line that starts with the key.
    """
    for interpolations in (False, True):  # a wrong value is reported where it is set, not where it is referred to
        check_keys(config, SCHEMAS[program], program, interpolations)
    if program == "train":
        require_end(config)
        require_members(config)
        if not has_data:
            require_data_file(config)
    if program == "evaluate" and not config.get("task") and not config.get("estimators"):
        raise ConfigError("estimators must name at least one, such as [elbo]")


def check_keys(config: DictConfig, schema: Mapping[str, Any], program: str, interpolations: bool) -> None:
    """Raise a `ConfigError` for the first top-level key that is unknown, missing or invalid."""
    for name in map(str, config):
        if name not in schema:
            raise ConfigError(unknown_key(name, program))
    for name, kind in schema.items():
        if name in config.keys():  # noqa: SIM118 - `in config` is False for missing values
            check_value(config, name, name, kind, interpolations)
        elif not (isinstance(kind, Part | Parts) and kind.or_absent):
            choice = f"; choose one by {name}=<name>" if isinstance(kind, Part) else ""
            raise ConfigError(f"{name} must be given, but is not in the configuration{choice}")


def unknown_key(name: str, program: str) -> str:
    """The message for a top-level key that a program does not have."""
    if name in RENAMED:
        return f"{name} is no longer a setting; use {RENAMED[name]}"
    others = [f"{other}.py" for other, schema in SCHEMAS.items() if name in schema]
    if others:
        return f"{name} is a setting of {' and '.join(others)}, not of {program}.py"
    if (conf_folder() / name).is_dir():
        return f"{name} is a group of presets, whose files start with the line: # @package _global_"
    return f"{name} is not a setting of {program}.py{did_you_mean(name, SCHEMAS[program])}"


def check_value(node: DictConfig, name: str, key: str, kind: Any, interpolations: bool, is_ours: bool = True) -> None:
    """Raise a `ConfigError` for an invalid value of a key, or of one below it.

    Args:
        node: The node that has the key.
        name: The key within the node.
        key: The full key.
        kind: `Part`, `Parts`, `Refused`, a dict of a section's keys, or an annotation.
        interpolations: Whether values that are interpolations are checked, too.
        is_ours: Whether the annotation is from this package, where any class without plain values means a part.
    """
    is_interpolation = OmegaConf.is_interpolation(node, name)
    if is_interpolation and not interpolations:
        return
    if isinstance(kind, Refused):
        raise ConfigError(f"{key} {kind}; drop it")
    if OmegaConf.is_missing(node, name):
        raise ConfigError(f"{key} must be given: {REQUIRED.get(key, f'{key}=…')}")
    try:
        value = node[name]
    except OmegaConfBaseException as error:
        raise ConfigError(unresolved(node, key, first_line(error))) from error
    if isinstance(kind, dict):
        check_section(value, key, kind, interpolations)
    elif isinstance(kind, Parts):
        check_parts(value, key, interpolations)
    elif isinstance(value, DictConfig) and "_target_" in value:
        if not is_interpolation:
            check_part(value, key, interpolations)
        if not isinstance(kind, Part) and not takes_objects(kind):
            raise ConfigError(f"{key} must be a plain value, got the part {target_of(value)}")
    elif isinstance(kind, Part):
        if not (value is None and kind.or_null):
            choice = "" if "." in key else f"; choose one by {key}=<name>"
            null = " or null" if kind.or_null else ""
            raise ConfigError(f"{key} must be a part with a _target_{null}, got {shown(value)}{choice}")
    elif simplified(kind) is Opaque:
        if is_ours:
            raise ConfigError(f"{key} must be a part with a _target_, got {shown(value)}")
    elif not (is_interpolation and value is None):  # filled in by the run, such as data.shape
        check(value, kind, key)


def unresolved(node: DictConfig, key: str, message: str) -> str:
    """The message for a value of a node that refers to a setting that another part lacks."""
    found = re.search(r"Interpolation key '(\w+(?:\.\w+)*)' not found", message)
    owner = found and OmegaConf.select(node._get_root(), found[1].rpartition(".")[0], throw_on_missing=False)
    if not found or "_target_" not in node or not isinstance(owner, DictConfig) or "_target_" not in owner:
        return f"{key}: {message}"
    part, name = key.rpartition(".")[0], str(node["_target_"]).rpartition(".")[2]
    if found[1] in LACKING:
        return f"{part}: {name} needs {LACKING[found[1]]}; or choose another {part.replace('.', '/')}"
    other = str(owner["_target_"]).rpartition(".")[2]
    return f"{key} is by default {found[1]}, which {other} does not have; set {key}, or choose other parts of the model"


def check_section(value: Any, key: str, kinds: Mapping[str, Any], interpolations: bool) -> None:
    """Check a section, all of whose keys are required."""
    if not isinstance(value, DictConfig):
        raise ConfigError(f"{key} must have {' and '.join(f'{key}.{name}' for name in kinds)}, got {shown(value)}")
    for name in map(str, value):
        if name not in kinds:
            raise ConfigError(f"{key}.{name} is not a setting{did_you_mean(name, kinds)}")
    for name, kind in kinds.items():
        if name not in value.keys():  # noqa: SIM118
            raise ConfigError(f"{key}.{name} must be given, but is not in the configuration")
        check_value(value, name, f"{key}.{name}", kind, interpolations)


def check_parts(value: Any, key: str, interpolations: bool) -> None:
    """Check a mapping of names to parts."""
    if not isinstance(value, DictConfig):
        raise ConfigError(f"{key} must be a mapping of names to parts, got {shown(value)}")
    for name in map(str, value):
        check_value(value, name, f"{key}.{name}", Part(or_null=True), interpolations)


def check_part(node: DictConfig, key: str, interpolations: bool) -> None:
    """Check a node with a `_target_` by the signature of its class, and the parts in it."""
    for name, kind in HYDRA_KEYS.items():
        if name in node:
            check_value(node, name, f"{key}.{name}", kind, interpolations)
    target = target_of(node)
    signature = signature_of(target)
    if signature is None:
        hint = did_you_mean(target, names_near(target))
        if hint or target.startswith("aevb.") or source(target.partition(".")[0]) is None:
            raise ConfigError(f"{key}._target_: there is no {target}{hint or missing_module(target)}")
        signature = Signature(target, is_open=True)
    kinds = dict(signature.parameters)
    for prefix, narrowed in NARROWED.items():
        if f"{signature.name}.".startswith(f"{prefix}."):
            kinds |= {name: narrowed[name] for name in narrowed.keys() & kinds}
    is_ours = signature.name.startswith("aevb.")
    for name in map(str, node):
        if name in HYDRA_KEYS:
            continue
        if name in kinds:
            check_value(node, name, f"{key}.{name}", kinds[name], interpolations, is_ours)
        elif signature.is_open:
            check_value(node, name, f"{key}.{name}", Any, interpolations, is_ours=False)
        else:
            others = [
                other for other, kind in kinds.items() if not (isinstance(kind, Refused) or other in signature.required)
            ]
            hint = did_you_mean(name, others) or f"; it has {', '.join(others) or 'none'}"
            raise ConfigError(f"{key}.{name} is not a setting of {signature.name.rpartition('.')[2]}{hint}")


def require_end(config: DictConfig) -> None:
    """Raise a `ConfigError` where nothing ends the training; a resumed run has its own limits."""
    ends = (config.max_samples, *(config.trainer.get(name) for name in ("max_epochs", "max_time", "max_steps")))
    if config.resume is None and all(end in (None, -1) for end in ends):
        raise ConfigError("max_samples must be given where trainer.max_epochs is not, as nothing ends the training")


def require_members(config: DictConfig) -> None:
    """Raise a `ConfigError` where settings do not suit several seeds, or need them."""
    seeds, rates = config.get("seeds") or 1, config.optimizer.get("lr")
    if isinstance(rates, ListConfig) and len(rates) != seeds:
        raise ConfigError(f"optimizer.lr must be a number, or a list of one for each of seeds={seeds}, got {rates}")
    if config.seed + seeds > 2**32:
        raise ConfigError(f"seeds must be at most {2**32 - config.seed}, as the last seed is below 2^32, got {seeds}")
    if seeds > 1 and config.trainer.get("precision") == "16-mixed":
        raise ConfigError(
            "trainer.precision=16-mixed scales the loss of all seeds by one factor; use bf16-mixed with seeds"
        )


def require_data_file(config: DictConfig) -> None:
    """Raise a `ConfigError` where the data at `data.path` cannot be read; a resumed run has its own."""
    signature = signature_of(str(config.data["_target_"]))
    if config.resume is not None or signature is None or signature.name not in DATA_PATHS:
        return
    kind = DATA_PATHS[signature.name]
    path = Path(str(config.data.path)).expanduser()
    try:
        problem = (
            "does not exist" if not path.exists()
            else "is not a regular file" if kind == "file" and not path.is_file()
            else "is not a folder" if kind == "folder" and not path.is_dir()
            else "cannot be read: permission denied" if not os.access(path, os.R_OK)
            else None
        )  # fmt: skip
    except (OSError, ValueError) as error:
        problem = f"cannot be read: {getattr(error, 'strerror', None) or error}"
    if problem:
        raise ConfigError(f"data.path: {config.data.path} {problem}")


def keys_of(config: DictConfig, prefix: str = "") -> Iterator[str]:
    """All full keys of a configuration."""
    for name in map(str, config):
        yield f"{prefix}{name}"
        is_value = not (OmegaConf.is_interpolation(config, name) or OmegaConf.is_missing(config, name))
        if is_value and isinstance(config[name], DictConfig):
            yield from keys_of(config[name], f"{prefix}{name}.")

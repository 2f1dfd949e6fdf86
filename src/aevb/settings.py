"""Validation of the configuration: each key's value by its type, before torch is imported.

The types of a class's arguments are those of its signature, see `aevb.signatures`; the tables are in `aevb.schemas`.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from aevb.config import missing_module
from aevb.errors import ConfigError, first_line
from aevb.schemas import DATA_PATHS, NARROWED, RENAMED, REQUIRED, SCHEMAS, Part, Parts, Refused
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


class Problem(NamedTuple):
    """An invalid value."""

    message: str
    """One line that starts with the key."""
    is_reference: bool = False
    """Whether the value is an interpolation; a problem of the key that it refers to is reported first."""


def validate(config: DictConfig, program: str, has_data: bool = False) -> None:
    """Validate a composed configuration.

    Args:
        config: Without the `hydra` node.
        program: train, evaluate or report.
        has_data: Whether the data are at hand, whatever the configuration says of a file.

    Raises:
        ConfigError: an unknown key or an invalid value; one line that starts with the key.
    """
    problems = [*problems_of_keys(config, SCHEMAS[program], program)]
    if problems:
        raise ConfigError(min(problems, key=lambda problem: problem.is_reference).message)
    if program == "train":
        require_end(config)
        require_members(config)
        if not has_data:
            require_data_file(config)
    if program == "evaluate" and not config.get("task") and not config.get("estimators"):
        raise ConfigError("estimators must name at least one, such as [elbo]")


def problems_of_keys(config: DictConfig, schema: Mapping[str, Any], program: str) -> Iterator[Problem]:
    """The problems of all top-level keys."""
    for name in map(str, config):
        if name not in schema:
            yield Problem(unknown_key(name, program))
    for name, kind in schema.items():
        if name in config.keys():  # noqa: SIM118 - `in config` is False for missing values
            yield from problems_of(config, name, name, kind)
        elif not (isinstance(kind, Part | Parts) and kind.or_absent):
            choice = f"; choose one by {name}=<name>" if isinstance(kind, Part) else ""
            yield Problem(f"{name} must be given, but is not in the configuration{choice}")


def unknown_key(name: str, program: str) -> str:
    """The message for a top-level key that a program does not have."""
    if name in RENAMED:
        return f"{name} is no longer a setting; use {RENAMED[name]}"
    others = [f"{other}.py" for other, schema in SCHEMAS.items() if name in schema]
    if others:
        return f"{name} is a setting of {' and '.join(others)}, not of {program}.py"
    return f"{name} is not a setting of {program}.py{did_you_mean(name, SCHEMAS[program])}"


def problems_of(node: DictConfig, name: str, key: str, kind: Any, is_ours: bool = True) -> Iterator[Problem]:
    """The problems of the value of a key.

    Args:
        node: The node that has the key.
        name: The key within the node.
        key: The full key.
        kind: `Part`, `Parts`, `Refused`, a dict of a section's keys, or an annotation.
        is_ours: Whether the annotation is from this package, where any class without plain values means a part.
    """
    is_reference = OmegaConf.is_interpolation(node, name)
    if isinstance(kind, Refused):
        yield Problem(f"{key} {kind}; drop it")
        return
    if OmegaConf.is_missing(node, name):
        yield Problem(f"{key} must be given: {REQUIRED.get(key, f'{key}=…')}")
        return
    try:
        value = node[name]
    except OmegaConfBaseException as error:
        yield Problem(f"{key}: {first_line(error)}")
        return
    if isinstance(value, DictConfig) and value._is_none():
        value = None
    if isinstance(kind, dict):
        yield from problems_of_section(value, key, kind)
    elif isinstance(kind, Parts):
        yield from problems_of_parts(value, key)
    elif isinstance(value, DictConfig) and "_target_" in value:
        if not is_reference:
            yield from problems_of_part(value, key)
        if not isinstance(kind, Part) and not takes_objects(kind):
            yield Problem(f"{key} must be a plain value, got the part {value._get_node('_target_')}", is_reference)
    elif isinstance(kind, Part):
        if not (value is None and kind.or_null):
            choice = "" if "." in key else f"; choose one by {key}=<name>"
            null = " or null" if kind.or_null else ""
            yield Problem(f"{key} must be a part with a _target_{null}, got {shown(value)}{choice}")
    elif simplified(kind) is Opaque:
        if is_ours:
            yield Problem(f"{key} must be a part with a _target_, got {shown(value)}", is_reference)
    elif not (is_reference and value is None):  # filled in by the run, such as data.shape
        try:
            check(value, kind, key)
        except ConfigError as error:
            yield Problem(str(error), is_reference)


def problems_of_section(value: Any, key: str, kinds: Mapping[str, Any]) -> Iterator[Problem]:
    """The problems of a section, all of whose keys are required."""
    if not isinstance(value, DictConfig):
        yield Problem(f"{key} must have {' and '.join(f'{key}.{name}' for name in kinds)}, got {shown(value)}")
        return
    for name in map(str, value):
        if name not in kinds:
            yield Problem(f"{key}.{name} is not a setting{did_you_mean(name, kinds)}")
    for name, kind in kinds.items():
        if name in value.keys():  # noqa: SIM118
            yield from problems_of(value, name, f"{key}.{name}", kind)
        else:
            yield Problem(f"{key}.{name} must be given, but is not in the configuration")


def problems_of_parts(value: Any, key: str) -> Iterator[Problem]:
    """The problems of a mapping of names to parts."""
    if not isinstance(value, DictConfig):
        yield Problem(f"{key} must be a mapping of names to parts, got {shown(value)}")
        return
    for name in map(str, value):
        yield from problems_of(value, name, f"{key}.{name}", Part(or_null=True))


def problems_of_part(node: DictConfig, key: str) -> Iterator[Problem]:
    """The problems of a node with a `_target_`, by the signature of its class, and of the parts in it."""
    for name, kind in HYDRA_KEYS.items():
        if name in node:
            yield from problems_of(node, name, f"{key}.{name}", kind)
    target = str(node._get_node("_target_"))
    signature = signature_of(target)
    if signature is None:
        hint = did_you_mean(target, names_near(target))
        if hint or target.startswith("aevb.") or source(target.partition(".")[0]) is None:
            yield Problem(f"{key}._target_: there is no {target}{hint or missing_module(target)}")
            return
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
            yield from problems_of(node, name, f"{key}.{name}", kinds[name], is_ours)
        elif signature.is_open:
            yield from problems_of(node, name, f"{key}.{name}", Any, is_ours=False)
        else:
            others = [
                other for other, kind in kinds.items() if not (isinstance(kind, Refused) or other in signature.required)
            ]
            hint = did_you_mean(name, others) or f"; it has {', '.join(others) or 'none'}"
            yield Problem(f"{key}.{name} is not a setting of {signature.name.rpartition('.')[2]}{hint}")


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
        child = config._get_node(name)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_interpolation():
            yield from keys_of(child, f"{prefix}{name}.")

"""Names of the folders of sweeps and jobs, derived from the command, so that the same command finds the same folders.

Importing this module registers the resolvers `${sweep_name:…}`, `${varying:…}` and `${job_name:…}`.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import combinations

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

UNNAMED = ("allow", "callbacks", "logger", "sweep")
"""Settings that do not affect training, and are left out of the name of a sweep."""


def folder_name(text: str) -> str:
    """The overrides of a job as the name of a folder, valid on any file system; different texts have different names.

    A short text of plain characters is kept, with @ in place of /. In any other, ~ replaces each other character, and
    the name ends in ~ and a hash. Plain texts contain neither @ nor ~, so names do not clash.
    """
    if re.fullmatch(r"[\w,=+/-][\w.,=+/-]{,119}", text, re.ASCII):
        return text.replace("/", "@")
    plain = re.sub(r"[^\w.,=+-]", "~", text[:100], flags=re.ASCII)
    return f"{plain}~{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"


def sweep_name(
    name: str | None, preset: str | None, command: Sequence[str], params: Mapping[str, object] | None
) -> str:
    """The name of a sweep's folder: `name`, or the keys that the sweep varies and the overrides that it fixes.

    Args:
        name: Chosen by the user, or None.
        preset: The option of `sweep=`, if any, in place of the keys that it varies.
        command: The overrides of the command.
        params: `hydra.sweeper.params`, the sweeps of the preset.
    """
    if name is not None:
        return folder_name(str(name))
    varied = varying(command, None if preset else params)
    return name_by_keys(preset, varied, {key: value for key, value in named(command).items() if key not in varied})


def name_by_keys(preset: str | None, varied: Sequence[str], fixed: Mapping[str, str]) -> str:
    """The name of a sweep that varies some keys and fixes the values of others."""
    what = "+".join([preset, *varied] if preset else varied)
    return folder_name(",".join(filter(None, [what, *listed(fixed)])) or "default")


def varying(command: Sequence[str], params: Mapping[str, object] | None) -> list[str]:
    """The keys that the command or the preset (`hydra.sweeper.params`) varies, sorted.

    They include keys that the preset varies and the command fixes, so that part of a preset uses the same folders as
    the whole preset.
    """
    overrides = parse([*(f"{key}={value}" for key, value in (params or {}).items()), *command])
    return sorted({override.get_key_element() for override in overrides if override.is_sweep_override()})


def job_name(command: Sequence[str], keys: Collection[str]) -> str:
    """The name of a job's folder: its overrides of the keys that vary, or all if none does."""
    shown = {key: value for key, value in single(parse(command)).items() if key in keys} or named(command)
    return folder_name(",".join(listed(shown)) or "default")


def earlier_names(preset: str | None, command: Sequence[str], keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The names of sweep and job for each command that fixes some of the keys that this one varies."""
    values = named(command)
    for size in range(len(keys)):
        for varied in combinations(keys, size):
            fixed = {key: value for key, value in values.items() if key not in varied}
            yield name_by_keys(preset, varied, fixed), job_name(command, varied)


def named(command: Sequence[str]) -> dict[str, str]:
    """The single values of a command by key, without the keys that do not affect training."""
    return single(override for override in parse(command) if root(override) not in UNNAMED)


def single(overrides: Iterable[Override]) -> dict[str, str]:
    """The values of overrides by key, without those that list several."""
    return {o.get_key_element(): o.get_value_element_as_str() for o in overrides if not o.is_sweep_override()}


def listed(values: Mapping[str, str]) -> list[str]:
    """Values as overrides, sorted."""
    return [f"{key}={value}" for key, value in sorted(values.items())]


def parse(overrides: Sequence[str]) -> list[Override]:
    """The overrides as Hydra parses them."""
    return OverridesParser.create().parse_overrides(list(overrides))


def root(override: Override) -> str:
    """The first part of an override's key, such as `model` of `model.latent_dim` and of `model/prior`."""
    return override.key_or_group.split(".")[0].split("/")[0]


# Hydra passes the cached values for the whole command on to each job.
OmegaConf.register_new_resolver("sweep_name", sweep_name, replace=True, use_cache=True)
OmegaConf.register_new_resolver("varying", varying, replace=True, use_cache=True)
OmegaConf.register_new_resolver("job_name", job_name, replace=True)

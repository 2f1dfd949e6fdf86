"""Names of sweeps and of their jobs, by what a command says: the same command finds the same folders again.

Importing this module registers the resolvers `${sweep_name:…}`, `${varying:…}` and `${job_name:…}`.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

UNNAMED = ("allow", "callbacks", "logger", "sweep")
"""Settings that change nothing in what is trained; a sweep's name does not tell them."""


def folder_name(text: str) -> str:
    """The overrides of a job as the name of one folder, good for any file system; equal only for equal texts.

    A short text of plain characters stays as it is, but for @ in place of /. Any other gets ~ in place of what is not
    plain, and ~ and a hash at its end: as a plain text has neither @ nor ~, no name stands for two texts.
    """
    if re.fullmatch(r"[\w,=+/-][\w.,=+/-]{,119}", text, re.ASCII):
        return text.replace("/", "@")
    plain = re.sub(r"[^\w.,=+-]", "~", text[:100], flags=re.ASCII)
    return f"{plain}~{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"


def sweep_name(
    name: str | None, preset: str | None, command: Sequence[str], params: Mapping[str, object] | None
) -> str:
    """The name of a sweep's folder: `name`, or one made of what the sweep varies and of what its command fixes.

    Args:
        name: Chosen by the user; None: made of the rest.
        preset: The option of `sweep=`, if any; it stands for what it varies.
        command: The overrides of the command.
        params: `hydra.sweeper.params`, what the preset varies.
    """
    if name is not None:
        return folder_name(str(name))
    varied = varying(command, None if preset else params)
    fixed = [
        f"{override.get_key_element()}={override.get_value_element_as_str()}"
        for override in parse(command)
        if root(override) not in UNNAMED and override.get_key_element() not in varied
    ]
    what = "+".join([preset, *varied] if preset else varied)
    return folder_name(",".join(filter(None, [what, *sorted(fixed)])) or "default")


def varying(command: Sequence[str], params: Mapping[str, object] | None) -> list[str]:
    """The keys that tell the jobs of a sweep apart, sorted: those that the command or the preset varies.

    One that the preset varies and the command fixes is among them, so that a part of a preset finds the folders that
    the whole makes.

    Args:
        command: The overrides of the command.
        params: `hydra.sweeper.params`.
    """
    overrides = parse([*(f"{key}={value}" for key, value in (params or {}).items()), *command])
    return sorted({override.get_key_element() for override in overrides if override.is_sweep_override()})


def job_name(command: Sequence[str], keys: Sequence[str]) -> str:
    """The name of a job's folder: the overrides of the job whose keys vary, or all where none does.

    Args:
        command: The overrides of the job.
        keys: Those that vary.
    """
    single = [override for override in parse(command) if not override.is_sweep_override()]
    said = {override.get_key_element(): override.get_value_element_as_str() for override in single}
    told = {key: value for key, value in said.items() if key in keys} or said
    return folder_name(",".join(f"{key}={value}" for key, value in sorted(told.items())) or "default")


def parse(overrides: Sequence[str]) -> list[Override]:
    """The overrides as Hydra reads them."""
    return OverridesParser.create().parse_overrides(list(overrides))


def root(override: Override) -> str:
    """The first part of an override's key, such as `model` of `model.latent_dim` and of `model/prior`."""
    return override.key_or_group.split(".")[0].split("/")[0]


# Hydra hands the cached values of the command as a whole on to each job.
OmegaConf.register_new_resolver("sweep_name", sweep_name, replace=True, use_cache=True)
OmegaConf.register_new_resolver("varying", varying, replace=True, use_cache=True)
OmegaConf.register_new_resolver("job_name", job_name, replace=True)

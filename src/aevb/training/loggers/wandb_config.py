"""The configuration of a run in a form by which wandb's dashboards can group runs."""

import re
from collections.abc import Mapping
from typing import Any


def dashboard_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with a short name in place of each part, and the part's settings beside it.

    wandb groups by values, not by mappings: `model.likelihood` becomes `fixed_gaussian`, and `model.likelihood.sigma`
    becomes `model.likelihood_sigma`. Other mappings (`model`, `paths`) stay, as wandb joins their keys with dots; it
    does not find keys that contain dots themselves.

    Args:
        config: Plain values with interpolations resolved.
    """
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and (name := short_name(str(value.get("_target_", "")))):
            found[key] = name
            found |= {f"{key}_{setting}": content for setting, content in dashboard_config(value).items()}
        elif isinstance(value, Mapping):
            found[key] = dashboard_config(value)
        elif not str(key).startswith("_"):  # _target_, _partial_
            found[key] = value
    return found


def short_name(target: str) -> str:
    """The class of a `_target_` in the form of the YAML file names; empty for a function or the VAE.

    >>> short_name("aevb.likelihoods.FixedGaussian"), short_name("aevb.objectives.SGVB")
    ('fixed_gaussian', 'sgvb')
    """
    name = target.split(".")[-1]
    if not name[:1].isupper() or target == "aevb.vae.VAE":  # its parts distinguish models
        return ""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()

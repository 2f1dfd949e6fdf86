"""A run's configuration as wandb's dashboards can group by it."""

import re
from collections.abc import Mapping
from typing import Any


def dashboard_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with a short name in place of each class, and the class's settings beside it.

    wandb groups by one value, so a part such as the likelihood must be a value and not a mapping: `model.likelihood`
    becomes `fixed_gaussian`, and what the user types as `model.likelihood.sigma` becomes `model.likelihood_sigma`. A
    mapping that is no class (`model`, `paths`) stays: wandb itself joins its keys with dots. Keys with dots of their
    own would be no remedy: the dashboard cannot find them.

    Args:
        config: Plain values, as `OmegaConf.to_container` gives them, interpolations resolved.
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
    """The class of a `_target_` as it is written in a configuration's file names; empty for a function or the VAE.

    >>> short_name("aevb.likelihoods.FixedGaussian"), short_name("aevb.objectives.SGVB")
    ('fixed_gaussian', 'sgvb')
    """
    name = target.split(".")[-1]
    if not name[:1].isupper() or target == "aevb.vae.VAE":  # the model's parts tell models apart
        return ""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()

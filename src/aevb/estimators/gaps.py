"""Why the ELBO of a model is below log p(x): the approximation and the amortization gap."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

LOWER_BOUNDS = ("importance_sampling", "annealed_importance_sampling")
"""Estimators of log p(x) that are below it in expectation, so that the largest is the best."""

SAME = ("split", "limit", "checkpoint", "samples", "datapoints")
"""What entries that are compared have in common."""


class Gap(NamedTuple):
    """A difference of two estimates for the same datapoints, in nats per datapoint, and its standard error."""

    value: float
    standard_error: float


class Gaps(NamedTuple):
    """log p(x) − ELBO = approximation + amortization."""

    approximation: Gap
    """log p(x) − local ELBO, due to the family of q."""
    amortization: Gap
    """local ELBO − ELBO, due to the encoder."""


def gaps_of(entries: Iterable[Mapping[str, Any]]) -> Gaps | None:
    """The gaps from entries of evaluation.json; of the last `local_elbo`, and what has its datapoints and weights.

    None where the ELBO, the local ELBO of its family, or log p(x) is missing.
    """
    latest: dict[str, Mapping[str, Any]] = {}
    for entry in entries:
        family = (entry.get("settings") or {}).get("family", "encoder")
        if family == "encoder" and None not in (entry.get("value"), entry.get("standard_error")):
            latest[entry["estimator"]] = entry
    local = latest.get("local_elbo")
    if local is None:
        return None
    same = {name: entry for name, entry in latest.items() if all(entry.get(key) == local.get(key) for key in SAME)}
    marginals = [same[name] for name in LOWER_BOUNDS if name in same]
    if "elbo" not in same or not marginals:
        return None
    marginal = max(marginals, key=lambda entry: float(entry["value"]))
    return Gaps(difference(marginal, local), difference(local, same["elbo"]))


def difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> Gap:
    """a − b, whose noises are independent."""
    return Gap(a["value"] - b["value"], math.hypot(a["standard_error"], b["standard_error"]))


def in_words(gaps: Gaps) -> str:
    """One line that names both gaps."""
    (approximation, its_error), (amortization, other_error) = gaps
    return (
        f"log p(x) − ELBO = {approximation + amortization:.2f} nats: approximation gap {approximation:.2f} ± "
        f"{its_error:.2f}, amortization gap {amortization:.2f} ± {other_error:.2f}"
    )

"""The gap of the ELBO, split in two."""

import math
from typing import Any

import pytest

from aevb.estimators.gaps import gaps_of, in_words


def entry(estimator: str, value: float | None, error: float = 0.3, **others: Any) -> dict[str, Any]:
    same = {"split": "test", "limit": 100, "checkpoint": "best", "samples": 5, "datapoints": 100}
    return {"estimator": estimator, "value": value, "standard_error": error, "settings": {}, **same, **others}


ELBO = entry("elbo", -10.0)
LOCAL = entry("local_elbo", -9.0, 0.4, settings={"family": "encoder"})
SAMPLED, ANNEALED = entry("importance_sampling", -8.5), entry("annealed_importance_sampling", -8.2)


def test_gaps_add_up_and_their_noises_are_independent() -> None:
    gaps = gaps_of([ELBO, LOCAL, SAMPLED, ANNEALED])
    assert gaps is not None
    assert gaps.amortization == pytest.approx((1.0, 0.5))
    assert gaps.approximation == pytest.approx((0.8, 0.5))  # to the higher of the two lower bounds
    assert gaps.approximation.value + gaps.amortization.value == pytest.approx(ANNEALED["value"] - ELBO["value"])
    assert in_words(gaps).endswith("approximation gap 0.80 ± 0.50, amortization gap 1.00 ± 0.50")


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [ELBO, LOCAL],
        [LOCAL, SAMPLED],
        [ELBO, SAMPLED],
        [ELBO, LOCAL, SAMPLED | {"limit": 10}],
        [ELBO, LOCAL, SAMPLED | {"samples": 6}],
        [ELBO | {"value": None}, LOCAL, SAMPLED],
        [ELBO, LOCAL | {"settings": {"family": "flow"}}, SAMPLED],
        [ELBO, LOCAL, entry("posterior_hmc", -8.0)],
    ],
)
def test_no_gaps_without_three_estimates_for_the_same_datapoints(entries: list[dict[str, Any]]) -> None:
    assert gaps_of(entries) is None


def test_infinite_error_stays_infinite() -> None:
    gaps = gaps_of([ELBO, LOCAL, SAMPLED | {"standard_error": math.inf}])
    assert gaps is not None
    assert gaps.approximation.standard_error == math.inf

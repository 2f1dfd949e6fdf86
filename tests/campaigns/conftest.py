"""Campaigns: many cases of one kind. `make test` runs a sample of each, `make test-campaign` all of it."""

import os
import random
from collections.abc import Callable, Sequence
from typing import TypeVar

import pytest

T = TypeVar("T")

LONG = os.environ.get("AEVB_CAMPAIGN") == "long"


@pytest.fixture(scope="session")
def sample() -> Callable[[Sequence[T], int], list[T]]:
    """`sample(cases, n)`: all cases in the long campaign, else n of them, the same each time."""

    def chosen(cases: Sequence[T], n: int) -> list[T]:
        return list(cases) if LONG or n >= len(cases) else random.Random(0).sample(list(cases), n)

    return chosen

"""Checks of the settings of a model's parts. Each message starts with the key that the user typed."""

import math
from collections.abc import Sequence


def positive_number(value: float, key: str) -> float:
    """`value`, a positive finite number.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{key} must be a positive number, got {value!r}")
    return value


def positive_size(value: int, key: str, minimum: int = 1) -> int:
    """`value`, a whole number of at least `minimum`.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ValueError(f"{key} must be a whole number of at least {minimum}, got {value!r}")
    return value


def positive_sizes(sizes: Sequence[int], key: str) -> list[int]:
    """`sizes` as a list.

    Raises:
        ValueError: not a list, or one of them is not a positive whole number.
    """
    if isinstance(sizes, str | int | float) or sizes is None:
        raise ValueError(f"{key} must be a list of sizes such as [500], got {sizes!r}")
    if any(not isinstance(size, int) or isinstance(size, bool) or size < 1 for size in sizes):
        raise ValueError(f"{key} must hold positive whole numbers, got {list(sizes)}")
    return list(sizes)

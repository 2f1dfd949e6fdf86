"""Checks of settings. Each returns the value, or raises a ValueError of one line that starts with the key as typed."""

import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any, TypeVar

T = TypeVar("T")


def whole_number(value: Any, key: str, at_least: int = 1, note: str = "") -> int:
    """`value`, a whole number of at least `at_least`; True and False are none.

    Args:
        value: The setting.
        key: Its name, which the message starts with.
        at_least: The smallest number allowed.
        note: Said behind what the setting must be.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < at_least:
        raise ValueError(f"{key} must be a whole number of at least {at_least}{note}, got {value!r}")
    return int(value)


def number(
    value: Any,
    key: str,
    *,
    above: float = -math.inf,
    below: float = math.inf,
    at_least: float = -math.inf,
    note: str = "",
) -> float:
    """`value`, a finite number with above < value < below and value ≥ at_least; True and False are none.

    Args:
        value: The setting.
        key: Its name, which the message starts with.
        above, below, at_least: Its limits.
        note: Said behind what the setting must be.

    Raises:
        ValueError: it is something else.
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not (is_number and above < value < below and value >= at_least):
        if at_least > -math.inf:
            wanted = f"a number of at least {at_least:g}"
        elif below < math.inf:
            wanted = f"a number between {above:g} and {below:g}"
        else:
            wanted = "a positive number" if above == 0 else f"a number above {above:g}"
        raise ValueError(f"{key} must be {wanted}{note}, got {value!r}")
    return float(value)


def choice(value: T, key: str, choices: Iterable[T]) -> T:
    """`value`, one of `choices`.

    Raises:
        ValueError: it is something else.
    """
    choices = list(choices)
    if value not in choices:
        raise ValueError(f"{key} must be one of {', '.join(map(str, choices))}, got {value!r}")
    return value


def flag(value: Any, key: str) -> bool:
    """`value`, true or false.

    Raises:
        ValueError: it is something else; a string such as "no" would count as true.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{key} must be true or false, got {value!r}")
    return value


def list_of_sizes(value: Any, key: str, example: str = "[500]") -> list[int]:
    """`value` as a list of positive whole numbers, which may be empty.

    Raises:
        ValueError: it is no list, or holds something else.
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError(f"{key} must be a list of sizes such as {example}, got {value!r}")
    if any(isinstance(size, bool) or not isinstance(size, Integral) or size < 1 for size in value):
        raise ValueError(f"{key} must hold positive whole numbers, got {list(value)}")
    return [int(size) for size in value]

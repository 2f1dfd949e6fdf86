"""Checks of the objectives' settings. Each message starts with the key that the user typed."""

import math


def check_count(name: str, value: object, at_least: int = 1, reason: str = "") -> None:
    """Make sure that a setting is a whole number that is large enough.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise ValueError(f"objective.{name} must be a whole number of at least {at_least}{reason}, got {value!r}")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Make sure that a setting is one of `choices`.

    Raises:
        ValueError: it is not.
    """
    if value not in choices:
        raise ValueError(f"objective.{name} must be one of {', '.join(choices)}, got {value!r}")


def check_not_negative(name: str, value: object) -> None:
    """Make sure that a setting is a finite number of at least 0.

    Raises:
        ValueError: it is not.
    """
    if not is_number(value) or not 0 <= value < math.inf:  # type: ignore[operator]
        raise ValueError(f"objective.{name} must be a number of at least 0, got {value!r}")


def check_between(name: str, value: object, above: float, below: float = math.inf) -> None:
    """Make sure that a setting is a number in the open interval (above, below).

    Raises:
        ValueError: it is not.
    """
    if not is_number(value) or not above < value < below:  # type: ignore[operator]
        limits = f"between {above:g} and {below:g}" if below < math.inf else f"above {above:g}"
        raise ValueError(f"objective.{name} must be a number {limits}, got {value!r}")


def is_number(value: object) -> bool:
    """Whether a setting is a number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)

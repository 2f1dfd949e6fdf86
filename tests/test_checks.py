"""Checks of settings: what they let pass, and the one line that they say of the rest."""

import math

import numpy as np
import pytest
from omegaconf import OmegaConf

from aevb import checks

CONFIG = OmegaConf.create({"number": 3, "sizes": [500, 2]})


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (checks.whole_number(1, "k"), 1),
        (checks.whole_number(np.int64(7), "k"), 7),
        (checks.whole_number(CONFIG.number, "k"), 3),
        (checks.whole_number(0, "k", at_least=0), 0),
        (checks.number(2, "k", above=0), 2.0),
        (checks.number(np.float32(0.5), "k", above=0, below=1), 0.5),
        (checks.number(0, "k", at_least=0), 0.0),
        (checks.choice("b", "k", ("a", "b")), "b"),
        (checks.flag(False, "k"), False),
        (checks.list_of_sizes((4, np.int32(5)), "k"), [4, 5]),
        (checks.list_of_sizes(CONFIG.sizes, "k"), [500, 2]),
        (checks.list_of_sizes([], "k"), []),
    ],
)
def test_a_good_value_is_returned_as_a_plain_one(result, expected):
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("check", "value", "options", "wanted"),
    [
        (checks.whole_number, 0, {}, "be a whole number of at least 1, got 0"),
        (checks.whole_number, True, {}, "be a whole number of at least 1, got True"),
        (checks.whole_number, 1.0, {}, "be a whole number of at least 1, got 1.0"),
        (checks.whole_number, None, {}, "be a whole number of at least 1, got None"),
        (checks.whole_number, 1, {"at_least": 2, "note": " here"}, "be a whole number of at least 2 here, got 1"),
        (checks.number, 0, {"above": 0}, "be a positive number, got 0"),
        (checks.number, True, {"above": 0}, "be a positive number, got True"),
        (checks.number, "1", {"above": 0}, "be a positive number, got '1'"),
        (checks.number, math.nan, {"above": 0}, "be a positive number, got nan"),
        (checks.number, math.inf, {"above": 0}, "be a positive number, got inf"),
        (checks.number, 0, {"above": 0, "note": ", or null"}, "be a positive number, or null, got 0"),
        (checks.number, 1, {"above": 1}, "be a number above 1, got 1"),
        (checks.number, 1, {"above": 0, "below": 1}, "be a number between 0 and 1, got 1"),
        (checks.number, -1, {"at_least": 0}, "be a number of at least 0, got -1"),
        (checks.number, math.inf, {"at_least": 0}, "be a number of at least 0, got inf"),
        (checks.choice, "c", {"choices": ("a", "b")}, "be one of a, b, got 'c'"),
        (checks.choice, ["a"], {"choices": {"a": 1}}, "be one of a, got ['a']"),
        (checks.flag, "no", {}, "be true or false, got 'no'"),
        (checks.flag, 1, {}, "be true or false, got 1"),
        (checks.list_of_sizes, 500, {}, "be a list of sizes such as [500], got 500"),
        (checks.list_of_sizes, "", {}, "be a list of sizes such as [500], got ''"),
        (checks.list_of_sizes, None, {"example": "[1, 8]"}, "be a list of sizes such as [1, 8], got None"),
        (checks.list_of_sizes, [1, 0], {}, "hold positive whole numbers, got [1, 0]"),
        (checks.list_of_sizes, [True], {}, "hold positive whole numbers, got [True]"),
        (checks.list_of_sizes, [1.5], {}, "hold positive whole numbers, got [1.5]"),
    ],
)
def test_a_bad_value_is_refused_in_one_line_that_starts_with_the_key(check, value, options, wanted):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared as a whole
        check(value, "part.key", **options)
    assert str(caught.value) == f"part.key must {wanted}"

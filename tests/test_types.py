"""Types of settings: what they let pass, what they say of the rest, and classes that check their arguments by them."""

import copy
import math
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
import torch
from annotated_types import Interval
from omegaconf import OmegaConf
from torch import nn

from aevb.errors import ConfigError
from aevb.types import (
    AtLeastTwo,
    Checked,
    Count,
    CountOrZero,
    Fraction,
    NonNegative,
    Positive,
    Seed,
    Shape,
    Sizes,
    check,
    did_you_mean,
)

CONFIG = OmegaConf.create({"number": 3, "sizes": [500, 2], "map": {"a": 1}})


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1, Count),
        (np.int64(7), Count),
        (CONFIG.number, Count),
        (0, CountOrZero),
        (2, Positive),
        (np.float32(0.5), Fraction),
        (0, NonNegative),
        ("b", Literal["a", "b"]),
        (False, bool),
        (None, Count | None),
        ((4, np.int32(5)), Sizes),
        (CONFIG.sizes, Sizes),
        (torch.Size([1, 2]), Shape),
        ([], Sizes),
        ([0.9, 0.999], tuple[Fraction, Fraction]),
        (CONFIG.map, dict[str, int]),
        (Path("x"), str | Path),
        (torch.ones(2), Positive),  # no plain value: Python's own business
        (nn.Identity(), nn.Module),
        ("anything", Any),
    ],
)
def test_a_good_value_passes(value, kind):
    check(value, kind, "k")


@pytest.mark.parametrize(
    ("value", "kind", "wanted"),
    [
        (0, Count, "be a whole number of at least 1, got 0"),
        (True, Count, "be a whole number of at least 1, got true"),
        (1.0, Count, "be a whole number of at least 1, got 1.0"),
        (None, Count, "be a whole number of at least 1, got null"),
        ("1", Count, "be a whole number of at least 1, got '1'"),
        (10**30, Count, "be a whole number of at least 1, got 1000000000000000000000000000000"),
        (1, AtLeastTwo, "be a whole number of at least 2, got 1"),
        (2**32, Seed, "be a whole number from 0 to 4,294,967,295, got 4294967296"),
        (0, Positive, "be a positive number, got 0"),
        (True, Positive, "be a positive number, got true"),
        ("1", Positive, "be a positive number, got '1'"),
        (math.nan, Positive, "be a positive number, got nan"),
        (math.inf, Positive, "be a positive number, got inf"),
        (0, Positive | None, "be a positive number or null, got 0"),
        (1, Annotated[float, Interval(gt=1)], "be a number above 1, got 1"),
        (1, Fraction, "be a number between 0 and 1, got 1"),
        (-1, NonNegative, "be a number of at least 0, got -1"),
        (math.inf, NonNegative, "be a number of at least 0, got inf"),
        ("cta", Literal["cat", "dog"], "be one of cat, dog, got 'cta'; did you mean cat?"),
        (["a"], Literal["a", "b"], "be one of a, b, got ['a']"),
        ("no", bool, "be true or false, got 'no'"),
        (1, bool, "be true or false, got 1"),
        ("no", bool | Literal["auto"], "be auto, true or false, got 'no'"),
        (500, Sizes, "be a list of positive sizes such as [500], got 500"),
        ("", Sizes, "be a list of positive sizes such as [500], got ''"),
        ([1, 0], Sizes, "be a list of positive sizes such as [500], got [1, 0]"),
        ([True], Sizes, "be a list of positive sizes such as [500], got [True]"),
        ([1.5], Sizes, "be a list of positive sizes such as [500], got [1.5]"),
        (None, Shape, "be a shape such as [1, 28, 28], got null"),
        (
            [0.9],
            tuple[Fraction, Fraction],
            "be a list of 2: a number between 0 and 1, a number between 0 and 1, got [0.9]",
        ),
        ([1, "a"], list[int], "be a list of whole numbers, got [1, 'a']"),
        ("x", Callable[[], None] | None, "be null or a part with a _target_, got 'x'"),
        ("x" * 200, Count, f"be a whole number of at least 1, got '{'x' * 76}…"),
    ],
)
def test_invalid_value_is_one_line_that_starts_with_the_key(value, kind, wanted):
    with pytest.raises(ConfigError) as caught:
        check(value, kind, "part.key")
    assert str(caught.value) == f"part.key must {wanted}"


def test_layers_that_no_memory_holds_are_refused():
    with pytest.raises(ConfigError, match=r"^hidden needs 3,725 GiB for its weights, got \[1000000, 1000000\]$"):
        check([1_000_000, 1_000_000], Sizes, "hidden")


class Head(Checked, nn.Module):
    def __init__(self, shape: Sequence[int], scale: Positive = 1.0, part: Callable[[], None] | None = None) -> None:
        super().__init__()
        self.scale = scale


class OwnHead(Head):
    def __init__(self, shape: Sequence[int], kind: Literal["a", "b"] = "a", **rest: Any) -> None:
        super().__init__(shape, **rest)


@dataclass(frozen=True)
class Settings(Checked):
    count: Count = 1


def test_class_checks_positional_and_keyword_arguments():
    assert Head([1], 2, print).scale == 2
    assert OwnHead((1,), "b", scale=np.float64(3)).scale == 3
    assert Settings(3).count == 3
    for make, name in (
        (lambda: Head([1], 0), "scale"),
        (lambda: Head([1], scale="wide"), "scale"),
        (lambda: OwnHead([1], "c"), "kind"),
        (lambda: OwnHead([1], scale=-1), "scale"),
        (lambda: Settings(0), "count"),
        (lambda: Settings(count=True), "count"),
    ):
        with pytest.raises(ValueError, match=f"^{name} must be"):
            make()
    with pytest.raises(TypeError, match="unexpected keyword"):
        Head([1], width=3)


def test_a_checked_object_can_be_copied_and_pickled():
    assert copy.deepcopy(Head([1], 2)).scale == 2
    assert pickle.loads(pickle.dumps(Settings(5))) == Settings(5)


def test_similar_names_are_suggested():
    assert did_you_mean("gausian", ["gaussian", "beta"]) == "; did you mean gaussian?"
    assert did_you_mean("zzz", ["gaussian", "beta"]) == ""

"""Types of settings, which validate values in Python and in the configuration.

A configurable class annotates its arguments with these, with `Literal`, `bool`, `str`, or with `Annotated` and the
constraints of annotated_types:

    def __init__(self, in_shape: Sequence[int], data_shape: Sequence[int], sigma: Positive = 0.1) -> None: ...

This module does not import torch: `aevb.settings` validates before torch is imported.
"""

import inspect
import math
import types
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from itertools import pairwise
from numbers import Integral, Real
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from annotated_types import Ge, Gt, Interval, MinLen
from pydantic import AfterValidator, ConfigDict, Strict, TypeAdapter, ValidationError

from aevb.errors import ConfigError

LARGEST = 2**53
"""The largest whole number up to which float64 is exact; no setting is larger."""

Count = Annotated[int, Interval(ge=1, le=LARGEST)]
CountOrZero = Annotated[int, Interval(ge=0, le=LARGEST)]
AtLeastTwo = Annotated[int, Interval(ge=2, le=LARGEST)]
Size = Annotated[int, Interval(ge=1, le=10**7)]
"""A dimension of tensors: units of a layer, dimensions of z, samples drawn at once."""
Seed = Annotated[int, Interval(ge=0, le=2**32 - 1)]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Interval(gt=0, lt=1)]
Share = Annotated[float, Interval(ge=0, le=1)]
Rate = Annotated[float, Interval(ge=0, lt=1)]
"""Of dropout."""


def fit_memory(sizes: list[int]) -> list[int]:
    """The sizes of successive layers, or a ValueError where their weights need more than 2^38 bytes (256 GiB)."""
    needed = 4 * sum(a * b for a, b in pairwise(sizes))
    if needed > 2**38:
        raise ValueError(f"needs {needed / 2**30:,.0f} GiB for its weights")
    return sizes


Sizes = Annotated[Sequence[Size], AfterValidator(fit_memory), "a list of positive sizes such as [500]"]
Layers = Annotated[Sequence[Size], MinLen(1), "the sizes of one or more layers such as [100, 50]"]
Halvings = Annotated[Sequence[Annotated[int, Interval(ge=0, le=20)]], "a list of whole numbers such as [1, 2, 3]"]
"""How often the sides of an image are halved, for each layer."""
Levels = Annotated[Sequence[AtLeastTwo], MinLen(1), "a list of numbers of levels such as [8, 6, 5]"]
Shape = Annotated[Sequence[Size], "a shape such as [1, 28, 28]"]


class Opaque:
    """Any type without plain values, such as modules and tensors."""


def check(value: Any, annotation: Any, key: str) -> None:
    """Check a plain value by the annotation of its argument; other objects pass.

    Raises:
        ConfigError: the annotation does not allow the value; one line that starts with the key.
    """
    plain_value, kind = plain(value), simplified(annotation)
    if plain_value is NotImplemented or kind in (Any, Opaque):
        return
    try:
        adapter(kind).validate_python(plain_value)
    except ValidationError as error:
        for details in error.errors():
            if "error" in details.get("ctx", {}):  # of `fit_memory`
                raise ConfigError(f"{key} {details['ctx']['error']}, got {shown(value)}") from None
        choices = [word for member in members(kind) if get_origin(member) is Literal for word in get_args(member)]
        hint = did_you_mean(plain_value, map(str, choices)) if isinstance(plain_value, str) else ""
        or_part = " or a part with a _target_" if takes_objects(annotation) else ""
        raise ConfigError(f"{key} must be {describe(kind)}{or_part}, got {shown(value)}{hint}") from None


class Checked:
    """Base of configurable classes: checks plain arguments by their annotations."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        parameters, signature = checked_parameters(cls)  # type: ignore[arg-type]
        try:
            arguments = signature.bind_partial(None, *args, **kwargs).arguments
        except TypeError:
            arguments = {}  # Python reports the error when it calls __init__
        for parameter in signature.parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                arguments |= arguments.get(parameter.name, {})
        for name, kind in parameters.items():
            if name in arguments:
                check(arguments[name], kind, name)
        return super().__new__(cls)


@cache
def checked_parameters(cls: type) -> tuple[dict[str, Any], inspect.Signature]:
    """The arguments of a class that take settings, by type, and the signature of its `__init__`."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if "__init__" in vars(base) and base is not object:
            hints = hints_of(vars(base)["__init__"])
            found |= {name: hint for name, hint in hints.items() if simplified(hint) not in (Any, Opaque)}
    return found, inspect.signature(cls.__init__)  # type: ignore[misc]


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a function; empty where they use names that only type checkers import."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError):
        return {}


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """pydantic's strict validation of a type: strings are not numbers, and numbers are not booleans."""
    return TypeAdapter(kind, config=ConfigDict(strict=True, allow_inf_nan=False))


def plain(value: Any) -> Any:
    """A value in Python's own types, converted from NumPy and OmegaConf; NotImplemented for any other object."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, Mapping):
        items = {str(key): plain(item) for key, item in value.items()}
        return NotImplemented if any(item is NotImplemented for item in items.values()) else items
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        elements = [plain(item) for item in value]
        return NotImplemented if any(item is NotImplemented for item in elements) else elements
    return NotImplemented


LISTS = (list, tuple, Sequence, Iterable, Collection, set, frozenset)


def simplified(annotation: Any) -> Any:
    """An annotation restricted to plain values; `Opaque` where none remain, `Any` where it allows everything."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is None or origin is Literal or annotation in (int, float, bool, str, type(None), Any):
        return annotation
    if origin is Annotated:
        inner, *notes = arguments
        kept = simplified(inner)
        return kept if kept in (Any, Opaque) else Annotated[kept, *notes]
    if origin in (Union, types.UnionType):
        kept = [kind for kind in map(simplified, arguments) if kind is not Opaque]
        return Any if Any in kept else Union[*kept] if kept else Opaque
    if origin is tuple and arguments and arguments[-1] is not ...:
        kept = [Any if kind is Opaque else kind for kind in map(simplified, arguments)]
        return Annotated[tuple[*kept], Strict(False)]  # type: ignore[valid-type]
    if origin in LISTS or annotation in LISTS:
        inner = simplified(arguments[0]) if arguments else Any
        return list[Any if inner is Opaque else inner]  # type: ignore[misc]
    if origin in (dict, Mapping) or annotation in (dict, Mapping):
        inner = simplified(arguments[1]) if arguments else Any
        return dict[str, Any if inner is Opaque else inner]  # type: ignore[misc]
    if "PathLike" in str(annotation) or "pathlib.Path" in str(annotation):
        return str
    return Any if annotation is object or isinstance(annotation, typing.TypeVar) else Opaque


def members(annotation: Any) -> Iterator[Any]:
    """The types of a union, or the type itself."""
    if get_origin(annotation) is Annotated:
        yield from members(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from members(member)
    else:
        yield annotation


def takes_objects(annotation: Any) -> bool:
    """Whether an annotation allows objects without plain values, such as modules."""
    return any(simplified(member) in (Any, Opaque) for member in members(annotation))


def describe(kind: Any) -> str:
    """A type in words, such as "a positive number or null"; a text in `Annotated` replaces them."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        inner, *notes = arguments
        texts = [note for note in notes if isinstance(note, str)]
        if texts:
            return texts[-1]
        return describe_number(inner, notes) if inner in (int, float) else describe(inner)
    if origin is Literal:
        choices = [shown(choice).strip("'") for choice in arguments]
        return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
    if origin in (Union, types.UnionType):
        others = [describe(kind) for kind in arguments if kind not in (bool, type(None))]
        words = [*others, *["true", "false"] * (bool in arguments), *["null"] * (type(None) in arguments)]
        *words, last = dict.fromkeys(words)
        return f"{', '.join(words)} or {last}" if words else last
    if origin is list:
        return f"a list of {plural(describe(arguments[0]))}"
    if origin is tuple:
        return f"a list of {len(arguments)}: {', '.join(map(describe, arguments))}"
    if origin is dict or kind is dict:
        return "a mapping"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text", type(None): "null"}.get(
        kind, "a value" if kind is Any else str(kind)
    )


def plural(words: str) -> str:
    """ "a number between 0 and 1" as "numbers between 0 and 1"."""
    for one, many in (("number", "numbers"), ("text", "texts"), ("value", "values"), ("mapping", "mappings")):
        if words.startswith("a ") and one in words:
            return words.removeprefix("a ").replace(one, many, 1)
    return words


def describe_number(kind: type, notes: Iterable[Any]) -> str:
    """A number type with its limits, in words."""
    limits = {name: getattr(note, name, None) for note in notes for name in ("ge", "gt", "le", "lt")}
    limits = {name: limit for name, limit in limits.items() if limit not in (None, LARGEST)}
    noun = "whole number" if kind is int else "number"
    show: Callable[[Any], str] = (lambda x: f"{x:,}") if kind is int else (lambda x: f"{x:g}")
    low, high = limits.get("ge", limits.get("gt")), limits.get("le", limits.get("lt"))
    if low is None and high is None:
        return f"a {noun}"
    if high is None:
        if "ge" in limits:
            return f"a {noun} of at least {show(low)}"
        return f"a positive {noun}" if low == 0 else f"a {noun} above {show(low)}"
    if low is None:
        return f"a {noun} of at most {show(high)}" if "le" in limits else f"a {noun} below {show(high)}"
    if "gt" in limits and "lt" in limits:
        return f"a {noun} between {show(low)} and {show(high)}"
    start = "from" if "ge" in limits else "above"
    end = "to" if "le" in limits else "to below"
    return f"a {noun} {start} {show(low)} {end} {show(high)}"


def shown(value: Any) -> str:
    """A value in one short line for a message; null, true and false as in YAML."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = repr(plain(value) if plain(value) is not NotImplemented else value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """A suggestion such as "; did you mean mnist?", or "" where no choice is similar."""
    near = get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""

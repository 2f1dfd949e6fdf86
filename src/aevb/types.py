"""Types of settings: what a class writes in its signature, and what a value is checked by, in Python and in the config.

A class that is chosen by the configuration annotates its arguments with these, with `Literal`, `bool`, `str`, or with
`Annotated` and the constraints of annotated_types:

    def __init__(self, in_shape: Sequence[int], data_shape: Sequence[int], sigma: Positive = 0.1) -> None: ...

No torch is imported here: `aevb.settings` reads the signatures before torch is there.
"""

import inspect
import math
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from itertools import pairwise
from numbers import Integral, Real
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from annotated_types import Ge, Gt, Interval, Le, Lt
from pydantic import AfterValidator, ConfigDict, Strict, TypeAdapter, ValidationError

from aevb.errors import ConfigError

LARGEST = 2**53
"""The largest whole number that float64 holds exactly; no setting is beyond it."""

Count = Annotated[int, Interval(ge=1, le=LARGEST)]
CountOrZero = Annotated[int, Interval(ge=0, le=LARGEST)]
AtLeastTwo = Annotated[int, Interval(ge=2, le=LARGEST)]
Size = Annotated[int, Interval(ge=1, le=10**7)]
"""Of something that lies in memory as a whole: units of a layer, dimensions of z, samples drawn at once."""
Seed = Annotated[int, Interval(ge=0, le=2**32 - 1)]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Interval(gt=0, lt=1)]


def fit_memory(sizes: list[int]) -> list[int]:
    """The sizes of successive layers, whose weights must have room below 2^38 bytes (256 GiB).

    Raises:
        ValueError: they do not.
    """
    needed = 4 * sum(a * b for a, b in pairwise(sizes))
    if needed > 2**38:
        raise ValueError(f"needs {needed / 2**30:,.0f} GiB for its weights")
    return sizes


Sizes = Annotated[Sequence[Size], AfterValidator(fit_memory), "a list of positive sizes such as [500]"]
Shape = Annotated[Sequence[Size], "a shape such as [1, 28, 28]"]


class Opaque:
    """Stands for a class that no plain value of a setting belongs to, such as a module or a tensor."""


def check(value: Any, annotation: Any, key: str) -> None:
    """Check a plain value by the annotation of an argument; anything but a plain value passes.

    Args:
        value: Of the setting.
        annotation: Of the argument it is for.
        key: The setting's name, with which the message begins.

    Raises:
        ConfigError: the value is none that the annotation allows; one line.
    """
    plain_value = plain(value)
    if plain_value is NotImplemented or (kind := simplified(annotation)) is Any:
        return
    if kind is Opaque:
        return
    try:
        adapter(kind).validate_python(plain_value)
    except ValidationError as error:
        details = {str(found["ctx"]["error"]) for found in error.errors() if "error" in found.get("ctx", {})}
        if details:
            raise ConfigError(f"{key} {details.pop()}, got {shown(value)}") from None
        hint = ""
        if isinstance(plain_value, str) and isinstance(choices := literals(kind), set) and choices:
            hint = did_you_mean(plain_value, choices)
        or_part = " or a part with a _target_" if takes_objects(annotation) else ""
        raise ConfigError(f"{key} must be {describe(kind)}{or_part}, got {shown(value)}{hint}") from None


class Checked:
    """Base of the classes that the configuration chooses: checks plain arguments by their annotations."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        parameters, signature = checked_parameters(cls)  # type: ignore[arg-type]
        try:
            arguments = signature.bind_partial(None, *args, **kwargs).arguments
        except TypeError:
            arguments = {}  # Python itself says what is wrong, when it calls __init__
        for name, value in (arguments | arguments.get(rest_of(signature), {})).items():
            if name in parameters:
                check(value, parameters[name], name)
        return super().__new__(cls)


@cache
def checked_parameters(cls: type) -> tuple[dict[str, Any], inspect.Signature]:
    """The annotations of the arguments of a class that are types of settings, and the signature of its `__init__`."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if "__init__" in vars(base) and base is not object:
            hints = hints_of(vars(base)["__init__"])
            found |= {name: hint for name, hint in hints.items() if simplified(hint) not in (Any, Opaque)}
    return found, inspect.signature(cls.__init__)  # type: ignore[misc]


def rest_of(signature: inspect.Signature) -> str:
    """The name of `**kwargs` in a signature, "" where there is none."""
    kinds = {parameter.kind: name for name, parameter in signature.parameters.items()}
    return kinds.get(inspect.Parameter.VAR_KEYWORD, "")


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a function; none where they name what is not there at run time."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError):
        return {}


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """pydantic's check of a type, strict: no string is a number, and no number is true."""
    return TypeAdapter(kind, config=ConfigDict(strict=True, allow_inf_nan=False))


def plain(value: Any) -> Any:
    """A value in Python's own types, those of NumPy and OmegaConf converted; NotImplemented for any other object."""
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


PLAIN = (int, float, bool, str, type(None))
LISTS = (list, tuple, Sequence, Iterable, Collection, set, frozenset)


def simplified(annotation: Any) -> Any:
    """An annotation without what no plain value can be; `Opaque` where nothing is left, `Any` where all is allowed."""
    if annotation is None:
        return type(None)
    if annotation in PLAIN or annotation is Any:
        return annotation
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
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


def takes_objects(annotation: Any) -> bool:
    """Whether an annotation allows anything but plain values, such as a module."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return takes_objects(arguments[0])
    if origin in (Union, types.UnionType):
        return any(map(takes_objects, arguments))
    return simplified(annotation) in (Any, Opaque)


def literals(kind: Any) -> set[str]:
    """The words among which a type lets one choose."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {word for word in arguments if isinstance(word, str)}
    if origin in (Union, types.UnionType):
        return set().union(*map(literals, arguments))
    return literals(arguments[0]) if origin is Annotated else set()


def describe(kind: Any) -> str:
    """A type in words, as in "must be a positive number or null"; a text among the notes of `Annotated` says it."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        notes = arguments[1:]
        texts = [note for note in notes if isinstance(note, str)]
        if texts:
            return texts[-1]
        if arguments[0] in (int, float):
            return describe_number(arguments[0], notes)
        return describe(arguments[0])
    if origin is Literal:
        choices = [shown(choice).strip("'") for choice in arguments]
        return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
    if origin in (Union, types.UnionType):
        others = [describe(kind) for kind in arguments if kind not in (bool, type(None))]
        words = [*others, *["true", "false"] * (bool in arguments), *["null"] * (type(None) in arguments)]
        return any_of(list(dict.fromkeys(words)))
    if origin is list:
        return f"a list of {plural(describe(arguments[0]))}"
    if origin is tuple:
        return f"a list of {len(arguments)}: {', '.join(map(describe, arguments))}"
    if origin is dict or kind is dict:
        return "a mapping"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text", type(None): "null"}.get(
        kind, "a value" if kind is Any else str(kind)
    )


def any_of(words: Sequence[str]) -> str:
    """ "a, b or c"."""
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def plural(words: str) -> str:
    """ "a number between 0 and 1" as "numbers between 0 and 1"."""
    for one, many in (("number", "numbers"), ("text", "texts"), ("value", "values"), ("mapping", "mappings")):
        if words.startswith("a ") and one in words:
            return words.removeprefix("a ").replace(one, many, 1)
    return words


def describe_number(kind: type, notes: Iterable[Any]) -> str:
    """A number with limits in words."""
    limits: dict[str, Any] = {}
    for note in notes:
        for name, constraint in (("ge", Ge), ("gt", Gt), ("le", Le), ("lt", Lt)):
            if isinstance(note, constraint | Interval) and getattr(note, name, None) is not None:
                limits[name] = getattr(note, name)
    if limits.get("le") == LARGEST:
        del limits["le"]
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
    """A value for a message: in one line, and not long; null, true and false as YAML writes them."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = repr(plain(value) if plain(value) is not NotImplemented else value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """; did you mean …? or nothing, where none of the choices is near."""
    near = get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""

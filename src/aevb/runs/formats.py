"""Validation of the files of a run folder, which is data of unknown origin.

An invalid file raises a `ConfigError` of one line. Readers execute nothing, need no more memory or time than the size
of the file warrants, and return no character that could control a terminal.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from omegaconf._utils import get_yaml_loader  # YAML as OmegaConf reads it: 1e-3 is a number, a date is a text
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from aevb.errors import ConfigError, one_line, printable
from aevb.files import read_file

MAX_BYTES = {".json": 8 << 20, ".yaml": 256 << 10, ".csv": 64 << 20}
"""The largest accepted file, by suffix."""
MAX_DEPTH, MAX_YAML_EVENTS = 40, 20_000
MAX_INTEGER = 2**63 - 1
MAX_NUMBER = 1e30
"""Larger measurements count as infinite: they would overflow where they are averaged or plotted."""

T = TypeVar("T")


def number_or_none(value: Any) -> Any:
    """None in place of NaN and numbers beyond `MAX_NUMBER`."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return None if is_number and not abs(value) <= MAX_NUMBER else value


MetricName = Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)+$")]
Count = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Number = Annotated[float | None, BeforeValidator(number_or_none)]


class File(BaseModel):
    """A JSON file: known keys are checked by their types, others are kept."""

    model_config = ConfigDict(strict=True, extra="allow")


Model = TypeVar("Model", bound=File)


def read_json(path: Path, root: Path, model: type[Model]) -> dict[str, Any]:
    """The content of a JSON file, without defaults for missing keys."""

    def parse(text: str) -> dict[str, Any]:
        return model.model_validate(plain(json.loads(text))).model_dump(exclude_unset=True)

    return parse_file(path, root, parse)


def read_yaml(path: Path, root: Path) -> Any:
    """The content of a YAML file, a mapping or a list of plain values."""

    def parse(text: str) -> Any:
        require_plain_yaml(text)
        return plain(yaml.load(text, Loader=get_yaml_loader()), refuse_control_characters=True)

    return parse_file(path, root, parse)


def parse_file(path: Path, root: Path, parse: Callable[[str], T]) -> T:
    """The content of a text file, parsed."""
    content = read_file(path, root, MAX_BYTES[path.suffix])
    try:
        return parse(content.decode())
    except Exception as error:  # the exceptions of parsers are not documented
        raise ConfigError(f"{path} cannot be read: {reason(path, error)}") from error


def reason(path: Path, error: BaseException) -> str:
    """The reason why a file is invalid, in a few words."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "missing":
            return f"it has no {first['loc'][-1]}; is this the {path.name} of another program?"
        return one_line(f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}")
    if isinstance(error, RecursionError) or "maximum nesting depth" in str(error):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return one_line(f"{error.problem} in line {error.problem_mark.line + 1}")
    text = str(error) or type(error).__name__
    return one_line(text.strip().splitlines()[0])[:200]


def require_plain_yaml(text: str) -> None:
    """Raise a ValueError where a short YAML text may become a large or deep value: aliases, tags, nesting."""
    depth = 0
    for count, event in enumerate(
        yaml.parse(text, Loader=yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader)
    ):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise ValueError("it has YAML aliases")
        if getattr(event, "tag", None) is not None:
            raise ValueError("it has YAML tags")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH or count > MAX_YAML_EVENTS:
            raise ValueError("it is nested too deeply" if depth > MAX_DEPTH else "it has too many values")


def plain(value: Any, depth: int = 0, refuse_control_characters: bool = False) -> Any:
    """A value of JSON or YAML with printable texts."""
    if depth > MAX_DEPTH:
        raise ValueError("it is nested too deeply")
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("it has a key that is not a text")
        items = ((plain(key, 0, refuse_control_characters), item) for key, item in value.items())
        return {key: plain(item, depth + 1, refuse_control_characters) for key, item in items}
    if isinstance(value, list):
        return [plain(item, depth + 1, refuse_control_characters) for item in value]
    if isinstance(value, str):
        if refuse_control_characters and printable(value) != value:
            raise ValueError(f"it has control characters: {value[:80]!r}")
        return printable(value)
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise ValueError("it has a whole number of more than 63 bits")
    if value is not None and not isinstance(value, bool | int | float):
        raise ValueError(f"it has a value of type {type(value).__name__}")
    return value

"""Signatures of classes and functions, read from their source: nothing is imported, as torch alone takes seconds."""

import ast
import importlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aevb.types import Opaque

IMPORTED = frozenset(
    (
        "aevb.types",
        "annotated_types",
        "collections.abc",
        "datetime",
        "os",
        "pathlib",
        "pydantic",
        "typing",
        "typing_extensions",
    )
)
"""Modules whose names annotations may use, and which are imported to know them."""
BUILTIN = {"bool": bool, "dict": dict, "float": float, "int": int, "list": list, "object": object, "set": set,
           "str": str, "tuple": tuple, "type": type}  # fmt: skip

Definition = ast.ClassDef | ast.FunctionDef


class Unknown(type):
    """Lets `Something.Else[int]` of a module that is not read be written in an annotation."""

    def __getattr__(cls, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls

    def __getitem__(cls, item: Any) -> type:
        return cls


class UnknownClass(Opaque, metaclass=Unknown):
    """Any class that is not a type of settings."""


@dataclass
class Signature:
    """The arguments of a class or a function.

    Args:
        name: Where it is defined, such as `torch.optim.adam.Adam`.
        parameters: Annotations by argument; `Any` where there is none.
        required: Those without a default.
        is_open: Whether it takes further arguments whose names are not known.
    """

    name: str
    parameters: dict[str, Any] = field(default_factory=dict)
    required: set[str] = field(default_factory=set)
    is_open: bool = False


@cache
def signature_of(target: str) -> Signature | None:
    """The signature of what a dotted name means; None where its source cannot be found or read."""
    found = locate(target)
    if found is None:
        return None
    module, definition = found
    signature = Signature(f"{module}.{definition.name}")
    collect(module, definition, signature)
    return signature


def names_near(target: str) -> list[str]:
    """The names of classes in the module of a dotted name, for the one that was meant."""
    module = target.rpartition(".")[0]
    tree = source(module)
    if tree is None:
        return []
    names = {alias.asname or alias.name for node in statements(tree) if isinstance(node, ast.ImportFrom)
             for alias in node.names}  # fmt: skip
    names |= {node.name for node in statements(tree) if isinstance(node, ast.ClassDef)}
    return [f"{module}.{name}" for name in sorted(names) if not name.startswith("_")]


def locate(target: str) -> tuple[str, Definition] | None:
    """The module and the definition behind a dotted name."""
    module, *path = target.split(".")
    while len(path) > 1 and source(f"{module}.{path[0]}") is not None:
        module = f"{module}.{path.pop(0)}"
    found = lookup(module, path[0]) if len(path) == 1 else None
    return (found[0], found[1]) if found and isinstance(found[1], ast.ClassDef | ast.FunctionDef) else None


@cache
def source(module: str) -> ast.Module | None:
    """The syntax tree of a module."""
    root, *rest = module.split(".")
    try:
        spec = find_spec(root)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        folders = [Path(place, *rest) for place in spec.submodule_search_locations]
        files = [file for folder in folders for file in (folder / "__init__.py", folder.with_name(f"{folder.name}.py"))]
    else:
        files = [Path(spec.origin)] if spec.origin and not rest else []
    for file in files:
        if file.suffix == ".py" and file.is_file():
            try:
                return ast.parse(file.read_bytes())
            except (SyntaxError, ValueError, OSError):
                return None
    return None


def statements(tree: ast.AST) -> Iterator[ast.stmt]:
    """The statements of a module, those within `if` and `try` among them."""
    for node in getattr(tree, "body", []):
        if isinstance(node, ast.If | ast.Try):
            yield from statements(node)
        else:
            yield node


@cache
def lookup(module: str, name: str) -> tuple[str, ast.AST] | None:
    """Where a name of a module is defined: the module, and a class, a function, an import or a value."""
    found: tuple[str, ast.AST] | None = None
    tree = source(module)
    for node in statements(tree) if tree is not None else ():
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            found = module, node
        elif isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            found = module, node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            found = (module, node.value) if node.value is not None else None
        elif isinstance(node, ast.Import) and any((alias.asname or alias.name) == name for alias in node.names):
            found = module, node
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    origin = imported_module(module, node)
                    is_known = origin in IMPORTED or origin == module
                    found = (origin, node) if is_known else lookup(origin, alias.name)
    return found


def imported_module(module: str, node: ast.ImportFrom) -> str:
    """The full name of the module that `from … import` names."""
    if not node.level:
        return node.module or ""
    spec = source(module)
    package = module if spec is not None and is_package(module) else module.rpartition(".")[0]
    for _ in range(node.level - 1):
        package = package.rpartition(".")[0]
    return f"{package}.{node.module}" if node.module else package


def is_package(module: str) -> bool:
    """Whether a module is a folder."""
    root, *rest = module.split(".")
    spec = find_spec(root)
    places = (spec.submodule_search_locations if spec else None) or []
    return any(Path(place, *rest, "__init__.py").is_file() for place in places)


def collect(module: str, definition: Definition, signature: Signature) -> None:
    """Add the arguments of a class or function to the signature; those that are there stay."""
    if isinstance(definition, ast.FunctionDef):
        add_arguments(module, definition.args, signature)
        return
    init = next((n for n in definition.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
    if init is not None:
        takes_more = add_arguments(module, init.args, signature)
        if not takes_more:
            return
        signature.is_open = False
    elif any("dataclass" in ast.dump(decorator) for decorator in definition.decorator_list):
        for node in definition.body:
            if not isinstance(node, ast.AnnAssign) or "ClassVar" in ast.dump(node.annotation):
                continue
            if isinstance(node.target, ast.Name):
                signature.parameters.setdefault(node.target.id, evaluate(module, node.annotation))
    bases = [base.value if isinstance(base, ast.Subscript) else base for base in definition.bases]
    for base in bases:
        found = lookup(module, base.id) if isinstance(base, ast.Name) else None
        if found and isinstance(found[1], ast.ClassDef):
            collect(*found, signature)  # type: ignore[arg-type]
        elif ast.unparse(base) not in ("ABC", "object", "NamedTuple", "Generic", "Protocol"):
            signature.is_open |= init is None and not signature.parameters


def add_arguments(module: str, arguments: ast.arguments, signature: Signature) -> bool:
    """Add the arguments of a function; whether it takes others, too."""
    positional = [*arguments.posonlyargs, *arguments.args]
    required = [*positional[: len(positional) - len(arguments.defaults)]]
    required += [a for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if default is None]
    for argument in [*positional, *arguments.kwonlyargs]:
        if argument.arg not in ("self", "cls", *signature.parameters):
            kind = Any if argument.annotation is None else evaluate(module, argument.annotation)
            signature.parameters[argument.arg] = kind
            if argument in required:
                signature.required.add(argument.arg)
    signature.is_open |= arguments.kwarg is not None
    return arguments.kwarg is not None


def evaluate(module: str, expression: ast.expr) -> Any:
    """The value of an annotation, with `UnknownClass` for what is not a type of settings."""
    if isinstance(expression, ast.Constant) and isinstance(expression.value, str):
        try:
            expression = ast.parse(expression.value, mode="eval").body
        except SyntaxError:
            return UnknownClass
    names = {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)}
    try:
        namespace = {name: meaning(module, name) for name in names}
        return eval(compile(ast.Expression(expression), module, "eval"), {"__builtins__": {}}, namespace)
    except Exception:
        return UnknownClass


def meaning(module: str, name: str) -> Any:
    """What a name in an annotation stands for."""
    found = lookup(module, name)
    if found is None:
        return BUILTIN.get(name, UnknownClass)
    where, node = found
    if isinstance(node, ast.ImportFrom):
        alias = next(alias for alias in node.names if (alias.asname or alias.name) == name)
        return getattr(importlib.import_module(where), alias.name, UnknownClass)
    if isinstance(node, ast.Import):
        alias = next(alias for alias in node.names if (alias.asname or alias.name) == name)
        return importlib.import_module(alias.name) if alias.name in IMPORTED else UnknownClass
    return evaluate(where, node) if isinstance(node, ast.expr) else UnknownClass

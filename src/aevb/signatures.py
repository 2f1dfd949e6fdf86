"""Signatures of classes and functions, read from their source without importing it, as torch alone takes seconds.

griffe does the same, but visits whole packages: 130 s for `torch.optim.Adagrad`, which takes 0.1 s here.
"""

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
"""Modules that are imported, because annotations use their names."""
BUILTIN = {"bool": bool, "dict": dict, "float": float, "int": int, "list": list, "object": object, "set": set,
           "str": str, "tuple": tuple, "type": type}  # fmt: skip


class Unknown(type):
    """Attributes and subscripts of an unknown class are the class itself, as in `Unknown.Member[int]`."""

    def __getattr__(cls, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls

    def __getitem__(cls, item: Any) -> type:
        return cls


class UnknownClass(Opaque, metaclass=Unknown):
    """A class without plain values, or one that cannot be found."""


@dataclass
class Signature:
    """The arguments of a class or a function."""

    name: str
    """The full name of the definition, such as `torch.optim.adam.Adam`."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """Annotations by argument; `Any` where there is none."""
    required: set[str] = field(default_factory=set)
    """Arguments without a default."""
    is_open: bool = False
    """Whether it takes further, unknown arguments."""


@cache
def signature_of(target: str) -> Signature | None:
    """The signature of the class or function with a dotted name; None where its source cannot be read."""
    module, *path = target.split(".")
    while len(path) > 1 and source(f"{module}.{path[0]}") is not None:
        module = f"{module}.{path.pop(0)}"
    found = lookup(module, path[0]) if len(path) == 1 else None
    if found is None or not isinstance(found[1], ast.ClassDef | ast.FunctionDef):
        return None
    signature = Signature(f"{found[0]}.{found[1].name}")
    collect(found[0], found[1], signature)
    return signature


def names_near(target: str) -> list[str]:
    """The names that the module of a dotted name imports or defines, for suggestions."""
    module, names = target.rpartition(".")[0], set()
    for node in statements(source(module)):
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.ClassDef):
            names.add(node.name)
    return [f"{module}.{name}" for name in sorted(names) if not name.startswith("_")]


def file_of(module: str) -> Path | None:
    """The source file of a module."""
    root, *rest = module.split(".")
    try:
        spec = find_spec(root)
    except (ImportError, ValueError):
        return None
    files = [Path(spec.origin)] if spec and spec.origin and not rest else []
    for place in (spec and spec.submodule_search_locations) or []:
        folder = Path(place, *rest)
        files += [folder / "__init__.py", folder.with_name(f"{folder.name}.py")]
    return next((file for file in files if file.suffix == ".py" and file.is_file()), None)


@cache
def source(module: str) -> ast.Module | None:
    """The syntax tree of a module."""
    file = file_of(module)
    try:
        return ast.parse(file.read_bytes()) if file else None
    except (SyntaxError, ValueError, OSError):
        return None


def statements(tree: ast.AST | None) -> Iterator[ast.stmt]:
    """The statements of a module, including those within `if` and `try`."""
    for node in getattr(tree, "body", []):
        if isinstance(node, ast.If | ast.Try):
            yield from statements(node)
        else:
            yield node


@cache
def lookup(module: str, name: str) -> tuple[str, ast.AST] | None:
    """The definition of a name in a module: its module, and a class, a function, an import or a value."""
    found: tuple[str, ast.AST] | None = None
    for node in statements(source(module)):
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
    """The full name of the module in `from … import`."""
    if not node.level:
        return node.module or ""
    file = file_of(module)
    is_package = file is not None and file.name == "__init__.py"
    parts = module.split(".")
    package = ".".join(parts[: len(parts) - node.level + is_package])
    return f"{package}.{node.module}" if node.module else package


def collect(module: str, definition: ast.ClassDef | ast.FunctionDef, signature: Signature) -> None:
    """Add the arguments of a class or function to the signature, without replacing existing ones."""
    if isinstance(definition, ast.FunctionDef):
        add_arguments(module, definition.args, signature)
        return
    init = next((n for n in definition.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
    if init is not None:
        add_arguments(module, init.args, signature)
        if init.args.kwarg is None:
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


def add_arguments(module: str, arguments: ast.arguments, signature: Signature) -> None:
    """Add the arguments of a function to the signature."""
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


def evaluate(module: str, expression: ast.expr) -> Any:
    """The value of an annotation, with `UnknownClass` in place of classes that are not imported."""
    if isinstance(expression, ast.Constant) and isinstance(expression.value, str):
        try:
            expression = ast.parse(expression.value, mode="eval").body
        except SyntaxError:
            return UnknownClass
    names = {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)}
    try:
        namespace = {name: referent(module, name) for name in names}
        return eval(compile(ast.Expression(expression), module, "eval"), {"__builtins__": {}}, namespace)
    except Exception:
        return UnknownClass


def referent(module: str, name: str) -> Any:
    """The object that a name in an annotation refers to."""
    found = lookup(module, name)
    if found is None:
        return BUILTIN.get(name, UnknownClass)
    where, node = found
    if isinstance(node, ast.ImportFrom | ast.Import):
        alias = next(alias for alias in node.names if (alias.asname or alias.name) == name)
        if isinstance(node, ast.ImportFrom):
            return getattr(importlib.import_module(where), alias.name, UnknownClass)
        return importlib.import_module(alias.name) if alias.name in IMPORTED else UnknownClass
    return evaluate(where, node) if isinstance(node, ast.expr) else UnknownClass

"""Conditions: labels, inputs or lengths c that a model is given beside x or z."""

import copy
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def given(module: Module, c: Tensor) -> Module:
    """A shallow copy of a module, which shares its parameters, with every part that takes a condition given c.

    A part with a `condition_shape` takes c as the last argument of `forward`, and passes it on to its own parts.

    Args:
        module: A model, or a part of one.
        c: (B, *condition_shape).
    """
    if getattr(module, "condition_shape", None) is not None:
        conditioned = copy.copy(module)
        conditioned.forward = partial(module.forward, c=c)
        return conditioned
    parts = {name: part and given(part, c) for name, part in module._modules.items()}
    if all(part is module._modules[name] for name, part in parts.items()):
        return module
    conditioned = copy.copy(module)
    conditioned._modules = parts
    return conditioned


def condition_shape_of(*modules: nn.Module) -> tuple[int, ...] | None:
    """The shape of the condition that parts of modules take; None where none takes one.

    Raises:
        ValueError: they take conditions of different shapes.
    """
    parts = [part for module in modules for part in module.modules()]
    found = [getattr(part, "condition_shape", None) for part in parts]
    shapes = {tuple(shape) for shape in found if shape is not None}
    if len(shapes) > 1:
        raise ValueError(f"the parts of a model must take conditions of one shape, got {sorted(map(list, shapes))}")
    return shapes.pop() if shapes else None


def beside(x: Tensor, c: Tensor | None) -> Tensor:
    """[x, c], the values of c beside those of x: (..., B, D) and (B, *condition_shape) → (..., B, D + C)."""
    if c is None:
        raise ValueError("the model needs a condition: use p.given(c) and q.given(c)")
    values = c.to(x.dtype).flatten(1) if c.ndim > 1 else c.to(x.dtype).unsqueeze(-1)
    return torch.cat([x, values.expand(*x.shape[:-1], values.shape[-1])], dim=-1)

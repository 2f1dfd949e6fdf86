"""Inputs of a model: converted to floats of its shape, or a ValueError of one line."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def to_float(x: Tensor) -> Tensor:
    """Stored values as float32: uint8 becomes x / 255, bool becomes 0 or 1."""
    if x.dtype == torch.uint8:
        return x.to(torch.float32).div_(255)
    if x.dtype == torch.bool:
        return x.view(torch.uint8).to(torch.float32)
    return x.to(torch.float32)


def converted(x: Tensor, like: Tensor) -> Tensor:
    """x on the device and of the type of `like`; integers and truth values become floats by `to_float`."""
    x = x.to(like.device)
    return (x if x.is_floating_point() else to_float(x)).to(like.dtype)


def as_array(values: Any, name: str) -> np.ndarray:
    """An array, a table, a sparse matrix or nested lists as an array, or a ValueError that starts with `name`."""
    if np.ma.is_masked(values):
        raise ValueError(f"{name} has masked values; fill them in, or leave out their rows")
    try:
        return np.asarray(values.toarray() if hasattr(values, "toarray") else values)
    except (TypeError, ValueError, RuntimeError):
        if isinstance(values, list | tuple) and len({len(part) for part in values if hasattr(part, "__len__")}) > 1:
            raise ValueError(
                f"{name} has parts of unequal length; pad sequences to one length, and give their lengths beside them"
            ) from None
        raise ValueError(f"{name} must be a tensor or an array of numbers, got {type(values).__name__}") from None


def as_numbers(values: Any, name: str) -> Tensor:
    """A tensor, or what `as_array` takes, as a tensor of real numbers, or a ValueError that starts with `name`."""
    if isinstance(values, Tensor):
        tensor = values if values.layout == torch.strided else values.to_dense()
    else:
        array = as_array(values, name)
        dtype = np.dtype(float) if array.dtype == np.longdouble else array.dtype.newbyteorder("=")
        try:
            tensor = torch.from_numpy(np.require(array, dtype, ["C", "W"]))  # torch has no other strides and types
        except TypeError:
            kind = values.dtype if isinstance(values, np.ndarray) else type(values).__name__
            raise ValueError(f"{name} must be a tensor or an array of numbers, got {kind}") from None
    if tensor.is_complex() or tensor.is_quantized:
        raise ValueError(f"{name} must hold real numbers, got {tensor.dtype}")
    return tensor


def as_batch(values: Any, data_shape: Sequence[int], like: Tensor) -> Tensor:
    """Datapoints x (B, *data_shape) on the device and of the type of `like`, see `converted`.

    Leading axes of length 1 of a datapoint, such as the channel of a grey image, may be missing.
    """
    x = as_numbers(values, "x")
    batch = with_all_axes(x, data_shape)
    if batch is None or not len(batch):
        raise ValueError(f"x must have the shape {words(data_shape)} with at least one datapoint, got {tuple(x.shape)}")
    return converted(batch, like)


def as_block(values: Any, data_shape: Sequence[int], like: Tensor) -> Tensor:
    """A batch of a training loader as a block x (K, B, *data_shape); a plain batch is a block with K = 1.

    Labels, after x in a tuple or list, are dropped.
    """
    x = without_labels(values)
    if x.numel() and x.ndim == len(data_shape) + 2 and tuple(x.shape[2:]) == tuple(data_shape):
        return converted(x, like)
    batch = with_all_axes(x, data_shape)
    if batch is None or not len(batch):
        raise ValueError(
            f"a batch must have the shape {words(data_shape)}, or {words(data_shape, 'K, B')} for a block of K "
            f"minibatches, got {tuple(x.shape)}"
        )
    return converted(batch, like).unsqueeze(0)


def without_labels(batch: Any) -> Tensor:
    """x of a batch of a loader: the batch itself, or the first element of a tuple or list."""
    return as_numbers(batch[0] if isinstance(batch, tuple | list) and len(batch) else batch, "a batch")


def as_condition(
    values: Any, condition_shape: Sequence[int] | None, count: int, like: Tensor, is_optional: bool = False
) -> Tensor | None:
    """Conditions c (B, *condition_shape) on the device and of the type of `like`, one for each of `count` datapoints.

    Numbers of any type are taken as they are: they are no grey values, which uint8 stands for in x.

    None where the model takes no condition, or an optional one is not given.
    """
    if condition_shape is None:
        if values is not None:
            raise ValueError(
                "the model takes no condition, but one is given; model=conditional takes one, model=deep_markov the "
                "lengths of sequences"
            )
        return None
    if values is None and is_optional:
        return None
    wanted = f"a condition of shape {list(condition_shape)} for each of the {count} datapoints"
    if values is None:
        raise ValueError(f"the model needs {wanted}, but none is given")
    c = as_numbers(values, "c")
    if tuple(c.shape) != (count, *condition_shape):
        raise ValueError(f"the model needs {wanted}, got c of shape {tuple(c.shape)}")
    return c.to(like)


def block_of_conditions(
    batch: Any, condition_shape: Sequence[int], block: Tensor, is_optional: bool = False
) -> Tensor | None:
    """c of a batch (x, y, c) that a loader yields, as (K, B, *condition_shape) for its block x (K, B, *data_shape).

    None where an optional condition is not given.
    """
    c = batch[2] if isinstance(batch, tuple | list) and len(batch) > 2 else None
    if isinstance(c, Tensor) and c.ndim == len(condition_shape) + 2:
        c = c.flatten(0, 1)
    c = as_condition(c, condition_shape, block.shape[0] * block.shape[1], block, is_optional)
    return None if c is None else c.view(*block.shape[:2], *condition_shape)


def as_latents(values: Any, latent_dim: int, like: Tensor) -> Tensor:
    """Finite latent variables z (..., latent_dim) on the device and of the type of `like`."""
    z = as_numbers(values, "z").to(like)
    if z.ndim < 2 or z.shape[-1] != latent_dim or not z.numel():
        raise ValueError(f"z must have the shape (..., {latent_dim}) with at least two axes, got {tuple(z.shape)}")
    require_finite(z, "z")
    return z


def require_finite(values: Tensor, name: str) -> None:
    """Raise a ValueError where a value is NaN or infinite."""
    wrong = values[~values.isfinite()]
    if len(wrong):
        raise ValueError(
            f"{name} must be finite, got {float(wrong[0]):g} in {len(wrong):,} of {values.numel():,} values"
        )


def with_all_axes(x: Tensor, data_shape: Sequence[int]) -> Tensor | None:
    """x as (B, *data_shape), where only leading axes of length 1 may be missing; None where it does not fit."""
    shape = tuple(data_shape)
    for missing in range(max(1, len(shape))):
        if any(size != 1 for size in shape[:missing]):
            break
        if tuple(x.shape[1:]) == shape[missing:] and x.ndim == 1 + len(shape) - missing:
            return x.reshape(len(x), *shape)
    return None


def words(data_shape: Sequence[int], leading: str = "B") -> str:
    """A shape for a message.

    >>> words((1, 28, 28))
    '(B, 1, 28, 28)'
    """
    return f"({leading}, {', '.join(map(str, data_shape))})"

"""Base classes of backbones, and of modules that keep full precision."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from aevb.types import Checked

Activation = Literal["elu", "gelu", "leaky_relu", "relu", "sigmoid", "silu", "softplus", "tanh"]
ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "leaky_relu": nn.LeakyReLU,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}


class Part(Checked, nn.Module):
    """A part of a model: a backbone, a likelihood or posterior head, or a prior."""

    condition_shape: tuple[int, ...] | None = None
    """Shape of one datapoint's condition c, which `forward(…, c)` takes as its last argument; None: it takes none."""

    def connect(self, p: Any, q: Any) -> None:
        """Called once with the model, before the optimizer is made; for parts that read its other parts."""

    def follow(self, objective: Any) -> None:
        """Called once with the objective, whose `samples_seen` is for parts that change in the course of training."""


class Backbone(Part):
    """A network from a tensor to features, which a head (a likelihood or a posterior) turns into a distribution."""

    out_shape: tuple[int, ...]
    """Shape of one datapoint's features: (features,) for vectors, (channels, H, W) for maps."""


class FullPrecision(nn.Module):
    """A module that stays in float32 or better where the model is converted to 16 bits, as by bf16-true.

    Only backbones tolerate half precision; densities, their parameters and averages of them need more.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def at_least_float32(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return tensor.to(moved.device) if moved.dtype in (torch.float16, torch.bfloat16) else moved

        return super()._apply(at_least_float32, recurse)


def activate(activation: Activation, dropout: float = 0.0) -> list[nn.Module]:
    """The layers after a linear one: the activation, then dropout (Srivastava et al. 2014) if its rate is not 0."""
    return [ACTIVATIONS[activation](), *([nn.Dropout(dropout)] if dropout else [])]


def as_weights(x: Tensor, module: nn.Module) -> Tensor:
    """x in the dtype of the module's weights."""
    weight = next(module.parameters(), None)
    return x if weight is None else x.to(weight.dtype)


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put the module and its parts in evaluation mode; afterwards each is as it was."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training

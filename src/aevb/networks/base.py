"""What every body has in common.

A body maps a tensor to features and says their shape in `out_shape`. Heads (likelihoods, posteriors) turn features into
distributions, so bodies know nothing of probability.
"""

from collections.abc import Callable
from typing import Literal, Self

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


class Body(Checked, nn.Module):
    """A network from a tensor to features.

    `out_shape` is the shape of one datapoint's features: `(features,)` for vectors, `(channels, H, W)` for maps.
    """

    out_shape: tuple[int, ...]


class FullPrecision(nn.Module):
    """A module whose floats keep 32 bits or more where a model is converted to 16, as by `trainer.precision=bf16-true`.

    Half precision is for bodies. Densities, what is learned of them and what they are averaged into need more.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def at_least_float32(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return tensor.to(moved.device) if moved.dtype in (torch.float16, torch.bfloat16) else moved

        return super()._apply(at_least_float32, recurse)


def as_weights(x: Tensor, module: nn.Module) -> Tensor:
    """x in the type of a module's weights."""
    weight = next(module.parameters(), None)
    return x if weight is None else x.to(weight.dtype)


def activation_layer(name: Activation) -> nn.Module:
    """The activation called `name`."""
    return ACTIVATIONS[name]()

"""Multi-layer perceptrons."""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from aevb.networks.base import Activation, Backbone, activate
from aevb.networks.condition import beside
from aevb.types import Rate, Shape, Sizes


class MLP(Backbone):
    """Fully connected layers, each followed by an activation: h = tanh(W x + b), as in appendix C of the paper.

    Without hidden layers it is the identity (up to flattening), which makes the heads linear in their input.

    With a condition c, the first layer sees [x, c].

    Shapes: (..., *in_shape) → (..., out_shape[0]).

    Args:
        in_shape: Shape of one input, flattened before the first layer.
        hidden: Units of each layer.
        activation: A name from `ACTIVATIONS`.
        condition_shape: Of a condition c; None: there is none.
        dropout: Share of each layer's units that are 0 in a training step; the others are scaled by 1 / (1 − dropout).
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        hidden: Sizes,
        activation: Activation,
        condition_shape: Shape | None = None,
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__()
        self.in_shape = tuple(in_shape)
        self.condition_shape = None if condition_shape is None else tuple(condition_shape)
        extra = 0 if self.condition_shape is None else math.prod(self.condition_shape)
        sizes = [math.prod(self.in_shape) + extra, *hidden]
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(sizes):
            layers += [nn.Linear(fan_in, fan_out), *activate(activation, dropout)]
        self.layers = nn.Sequential(*layers)
        self.out_shape = (sizes[-1],)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        x = x.flatten(-len(self.in_shape))
        features: Tensor = self.layers(x if self.condition_shape is None else beside(x, c))
        return features


class MLPEncoder(MLP):
    """Backbone of q(z|x): an `MLP` over the flattened image."""

    def __init__(
        self,
        data_shape: Sequence[int],
        hidden: Sizes = (500,),
        activation: Activation = "tanh",
        condition_shape: Shape | None = None,
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__(data_shape, hidden, activation, condition_shape, dropout)


class MLPDecoder(MLP):
    """Backbone of p(x|z): an `MLP` over z. The likelihood head gives the features the shape of the data."""

    def __init__(
        self,
        latent_dim: int,
        data_shape: Sequence[int],
        hidden: Sizes = (500,),
        activation: Activation = "tanh",
        condition_shape: Shape | None = None,
    ) -> None:
        super().__init__((latent_dim,), hidden, activation, condition_shape)

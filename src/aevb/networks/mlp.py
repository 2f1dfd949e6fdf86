"""Multi-layer perceptrons."""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from aevb.networks.base import ACTIVATIONS, Activation, Backbone
from aevb.types import Sizes


class MLP(Backbone):
    """Fully connected layers, each followed by an activation: h = tanh(W x + b), as in appendix C of the paper.

    Without hidden layers it is the identity (up to flattening), which makes the heads linear in their input.

    Shapes: (..., *in_shape) → (..., out_shape[0]).

    Args:
        in_shape: Shape of one input, flattened before the first layer.
        hidden: Units of each layer.
        activation: A name from `ACTIVATIONS`.
    """

    def __init__(self, in_shape: Sequence[int], hidden: Sizes, activation: Activation) -> None:
        super().__init__()
        self.in_shape = tuple(in_shape)
        sizes = [math.prod(self.in_shape), *hidden]
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(sizes):
            layers += [nn.Linear(fan_in, fan_out), ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(*layers)
        self.out_shape = (sizes[-1],)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.layers(x.flatten(-len(self.in_shape)))
        return features


class MLPEncoder(MLP):
    """Backbone of q(z|x): an `MLP` over the flattened image."""

    def __init__(self, data_shape: Sequence[int], hidden: Sizes = (500,), activation: Activation = "tanh") -> None:
        super().__init__(data_shape, hidden, activation)


class MLPDecoder(MLP):
    """Backbone of p(x|z): an `MLP` over z. The likelihood head gives the features the shape of the data."""

    def __init__(
        self, latent_dim: int, data_shape: Sequence[int], hidden: Sizes = (500,), activation: Activation = "tanh"
    ) -> None:
        super().__init__((latent_dim,), hidden, activation)

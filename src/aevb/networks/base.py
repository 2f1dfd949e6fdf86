"""What every body has in common.

A body maps a tensor to features and says their shape in `out_shape`. Heads (likelihoods, posteriors) turn features into
distributions, so bodies know nothing of probability.
"""

from torch import nn

from aevb.checks import choice

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "leaky_relu": nn.LeakyReLU,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}


class Body(nn.Module):
    """A network from a tensor to features.

    `out_shape` is the shape of one datapoint's features: `(features,)` for vectors, `(channels, H, W)` for maps.
    """

    out_shape: tuple[int, ...]


def activation_layer(name: str, owner: str) -> nn.Module:
    """The activation called `name`, for the part of the model called `owner`.

    Raises:
        ValueError: the name is unknown.
    """
    return ACTIVATIONS[choice(name, f"{owner}.activation", ACTIVATIONS)]()

"""Bodies of encoders and decoders, and the initialisation of their weights.

A body maps a tensor to features and says their shape in `out_shape`: `(features,)` for vectors. Heads (likelihoods,
posteriors) turn features into distributions, so bodies know nothing of probability.
"""

import math
from collections.abc import Sequence

from torch import Tensor, nn

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
INITIALIZATIONS = ("normal", "xavier", "pytorch")


def activation_layer(name: str, owner: str) -> nn.Module:
    """The activation called `name`, for the part of the model called `owner`.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"{owner}.activation must be one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS[name]()


def positive_sizes(sizes: Sequence[int], key: str) -> list[int]:
    """`sizes` as a list.

    Raises:
        ValueError: not a list, or one of them is not a positive whole number.
    """
    if isinstance(sizes, str | int | float) or sizes is None:
        raise ValueError(f"{key} must be a list of layer sizes such as [500], got {sizes!r}")
    if any(not isinstance(size, int) or isinstance(size, bool) or size < 1 for size in sizes):
        raise ValueError(f"{key} must hold positive whole numbers, got {list(sizes)}")
    return list(sizes)


class Body(nn.Module):
    """A network from a tensor to features; `out_shape` is the shape of one datapoint's features."""

    out_shape: tuple[int, ...]


class MLP(Body):
    """Fully connected layers, each followed by an activation: h = tanh(W x + b), as in appendix C of the paper.

    Without hidden layers it is the identity (up to flattening), which makes the heads linear in their input.

    Shapes: (..., *in_shape) → (..., out_shape[0]).

    Args:
        in_shape: Shape of one input, flattened before the first layer.
        hidden: Units of each layer.
        activation: A name from `ACTIVATIONS`.
        owner: The part of the model this is, for error messages.

    Raises:
        ValueError: unknown activation, or a size that is not a positive whole number.
    """

    def __init__(self, in_shape: Sequence[int], hidden: Sequence[int], activation: str, owner: str) -> None:
        super().__init__()
        self.in_shape = tuple(in_shape)
        sizes = [math.prod(self.in_shape), *positive_sizes(hidden, f"{owner}.hidden")]
        layers: list[nn.Module] = []
        for fan_in, fan_out in zip(sizes, sizes[1:], strict=False):
            layers += [nn.Linear(fan_in, fan_out), activation_layer(activation, owner)]
        self.layers = nn.Sequential(*layers)
        self.out_shape = (sizes[-1],)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.layers(x.flatten(-len(self.in_shape)))
        return features


class MLPEncoder(MLP):
    """Body of q(z|x): an `MLP` over the flattened image."""

    def __init__(self, data_shape: Sequence[int], hidden: Sequence[int] = (500,), activation: str = "tanh") -> None:
        super().__init__(data_shape, hidden, activation, owner="encoder")


class MLPDecoder(MLP):
    """Body of p(x|z): an `MLP` over z. The likelihood head gives the features the shape of the data."""

    def __init__(
        self, latent_dim: int, data_shape: Sequence[int], hidden: Sequence[int] = (500,), activation: str = "tanh"
    ) -> None:
        super().__init__((latent_dim,), hidden, activation, owner="decoder")


def initialize(module: nn.Module, scheme: str, std: float = 0.1) -> None:
    """Draw the weights and biases of every linear and convolutional layer of `module` anew, in place.

    `normal` draws both from N(0, std²); std = 0.1 is the paper's N(0, 0.01) (section 5). `xavier` is Glorot's uniform
    rule with zero biases; `pytorch` keeps the layers' own defaults. Subclasses of the layers, such as the masked
    layers of normalizing flows, keep their own initialisation.

    Raises:
        ValueError: unknown scheme, or std not positive.
    """
    if scheme not in INITIALIZATIONS:
        raise ValueError(f"model.initialization must be one of {', '.join(INITIALIZATIONS)}, got {scheme!r}")
    if not std > 0:
        raise ValueError(f"model.initialization_std must be positive, got {std}")
    for layer in module.modules():
        if type(layer) not in (nn.Linear, nn.Conv2d, nn.ConvTranspose2d) or scheme == "pytorch":
            continue
        assert isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)
        if scheme == "normal":
            nn.init.normal_(layer.weight, std=std)
            if layer.bias is not None:
                nn.init.normal_(layer.bias, std=std)
        else:
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

"""Initialisation of weights and biases."""

from typing import Literal

from torch import nn

from aevb.types import Positive, check

Initialization = Literal["normal", "xavier", "pytorch"]


def initialize(module: nn.Module, scheme: Initialization, std: Positive = 0.1) -> None:
    """Draw the weights and biases of every linear and convolutional layer of `module` anew, in place.

    `normal` draws both from N(0, std²); std = 0.1 is the paper's N(0, 0.01) (section 5). `xavier` is Glorot's uniform
    rule with zero biases; `pytorch` keeps the layers' own defaults. Subclasses of the layers, such as the masked
    layers of normalizing flows, keep their own initialisation, and so do parameters outside these layers.
    """
    check(scheme, Initialization, "scheme")
    check(std, Positive, "std")
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

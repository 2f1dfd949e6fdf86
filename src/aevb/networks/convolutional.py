"""Convolutional encoder and decoder for images of any size."""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from aevb.networks.base import ACTIVATIONS, Activation, Backbone, activate
from aevb.networks.mlp import MLP
from aevb.types import Rate, Shape, Sizes


class ResidualBlock(nn.Module):
    """x + conv(act(conv(act(x)))), 3x3 convolutions that keep size and channels.

    Source: He et al. (2016), arXiv 1603.05027 (activation before the convolution), without batch normalization.
    """

    def __init__(self, channels: int, activation: Activation) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ACTIVATIONS[activation](),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1),
            ACTIVATIONS[activation](),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.layers(x)
        return x + change


class Upsample(nn.Module):
    """Twice the size by a transposed convolution, cropped to `size`, which may be odd.

    The kernel of 4 is a multiple of the stride of 2, so that all output pixels sum equally many terms; a kernel of 3
    causes checkerboard artifacts (Odena, Dumoulin & Olah 2016). It costs less than half of nearest-neighbour
    upsampling followed by a convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size
        self.layer = nn.ConvTranspose2d(in_channels, out_channels, kernel_size=4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        doubled: Tensor = self.layer(x)
        return doubled[..., : self.size[0], : self.size[1]]


class ConvEncoder(Backbone):
    """Backbone of q(z|x): 3x3 convolutions of stride 2, each followed by an activation, then fully connected layers.

    A convolution maps a side of n pixels to ⌈n/2⌉, so that images of any size are covered completely.

    Shapes: (..., C, H, W) → (..., out_shape[0]).

    Args:
        data_shape: Shape (C, H, W) of one image.
        channels: Channels after each convolution.
        hidden: Units of each fully connected layer.
        activation: A name from `ACTIVATIONS`.
        residual: Add a `ResidualBlock` after each convolution.
        condition_shape: Of a condition c, which the fully connected layers see; None: there is none.
        dropout: Share of the values of each layer that are 0 in a training step; the others are scaled by
            1 / (1 − dropout).
    """

    def __init__(
        self,
        data_shape: Sequence[int],
        channels: Sizes = (32, 64),
        hidden: Sizes = (500,),
        activation: Activation = "tanh",
        residual: bool = False,
        condition_shape: Shape | None = None,
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__()
        channels = list(channels)
        sizes = halved_sizes(data_shape, len(channels), "encoder")
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise([data_shape[0], *channels]):
            layers += [nn.Conv2d(fan_in, fan_out, kernel_size=3, stride=2, padding=1)]
            layers += [ResidualBlock(fan_out, activation)] if residual else []
            layers += activate(activation, dropout)
        self.convolutions = nn.Sequential(*layers)
        self.dense = MLP((channels[-1], *sizes[-1]), hidden, activation, condition_shape, dropout)
        self.condition_shape, self.out_shape = self.dense.condition_shape, self.dense.out_shape

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        maps: Tensor = self.convolutions(x.reshape(-1, *x.shape[-3:]))
        features: Tensor = self.dense(maps.reshape(*x.shape[:-3], *maps.shape[1:]), c)
        return features


class ConvDecoder(Backbone):
    """Backbone of p(x|z): fully connected layers, then transposed convolutions up to a feature map of the image's size.

    The sizes are those of a `ConvEncoder` with as many convolutions, from the smallest to the image's own. The
    likelihood head makes its parameters from the map by a 1x1 convolution.

    Shapes: (..., latent_dim) → (..., channels[-1], H, W).

    Args:
        latent_dim: Dimensions of z.
        data_shape: Shape (C, H, W) of one image.
        channels: Channels before each transposed convolution; the last one keeps its number.
        hidden: Units of each fully connected layer.
        activation: A name from `ACTIVATIONS`.
        residual: Add a `ResidualBlock` after each transposed convolution.
        condition_shape: Of a condition c, which the fully connected layers see; None: there is none.
    """

    def __init__(
        self,
        latent_dim: int,
        data_shape: Sequence[int],
        channels: Sizes = (64, 32),
        hidden: Sizes = (500,),
        activation: Activation = "tanh",
        residual: bool = False,
        condition_shape: Shape | None = None,
    ) -> None:
        super().__init__()
        channels = list(channels)
        sizes = halved_sizes(data_shape, len(channels), "decoder")[::-1]
        self.dense = MLP((latent_dim,), hidden, activation, condition_shape)
        self.condition_shape = self.dense.condition_shape
        self.in_shape = (channels[0], *sizes[0])
        self.expand = nn.Sequential(
            nn.Linear(self.dense.out_shape[0], math.prod(self.in_shape)),
            nn.Unflatten(-1, self.in_shape),
            ACTIVATIONS[activation](),
        )
        layers: list[nn.Module] = []
        for fan_in, fan_out, size in zip(channels, [*channels[1:], channels[-1]], sizes[1:], strict=True):
            layers += [Upsample(fan_in, fan_out, size)]
            layers += [ResidualBlock(fan_out, activation)] if residual else []
            layers += [ACTIVATIONS[activation]()]
        self.convolutions = nn.Sequential(*layers)
        self.out_shape = (channels[-1], *sizes[-1])

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        maps: Tensor = self.expand(self.dense(z, c))
        images: Tensor = self.convolutions(maps.reshape(-1, *self.in_shape))
        return images.view(*z.shape[:-1], *self.out_shape)


def halved_sizes(data_shape: Sequence[int], count: int, owner: str) -> list[tuple[int, int]]:
    """The image's size (H, W), then the sizes after each of `count` halvings, rounded up."""
    if len(data_shape) != 3:
        raise ValueError(
            f"{owner}.channels: convolutions need images of shape [channels, height, width], got data of shape "
            f"{list(data_shape)}; use model/{owner}=mlp"
        )
    size = (data_shape[1], data_shape[2])
    most = max(1, math.ceil(math.log2(max(size))))
    if not 1 <= count <= most:
        raise ValueError(
            f"{owner}.channels must have 1 to {most} entries for images of {size[0]}x{size[1]}, as each halves the "
            f"size, got {count}"
        )
    return [(math.ceil(size[0] / 2**i), math.ceil(size[1] / 2**i)) for i in range(count + 1)]

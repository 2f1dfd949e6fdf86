"""Parts of convolutional models with several layers of latent variables, each of which is a map over the image.

Between the parts of a model everything is one vector per datapoint: maps are flattened, (C, H, W) → C H W.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from aevb.distributions.gaussian import diagonal_gaussian
from aevb.networks.base import ACTIVATIONS, Activation, Backbone, as_weights
from aevb.networks.convolutional import ResidualBlock, Upsample
from aevb.types import CountOrZero, Halvings, Shape, Size, Sizes


def over_maps(module: Callable[[Tensor], Tensor], maps: Tensor) -> Tensor:
    """A module of maps (N, C, H, W) applied to (..., C, H, W)."""
    result = module(maps.reshape(-1, *maps.shape[-3:]))
    return result.view(*maps.shape[:-3], *result.shape[1:])


def map_sizes(data_shape: Sequence[int], halvings: Sequence[int]) -> list[tuple[int, int]]:
    """(H, W) of the map of each layer, from the one next to the data upwards; each halving rounds up.

    Raises:
        ValueError: the data are no images, or halvings are not such that the maps shrink upwards.
    """
    if len(data_shape) != 3:
        raise ValueError(f"maps need images of shape [channels, height, width], got data of shape {list(data_shape)}")
    height, width = data_shape[1:]
    most = math.ceil(math.log2(max(height, width)))
    if not halvings or list(halvings) != sorted(halvings) or halvings[-1] > most:
        raise ValueError(
            f"halvings must rise from the layer next to the data to the top, and be 0 to {most} for images of "
            f"{height}x{width}, got {list(halvings)}"
        )
    return [(math.ceil(height / 2**count), math.ceil(width / 2**count)) for count in halvings]


def latent_maps(data_shape: Shape, latent_channels: Sizes, halvings: Halvings) -> list[tuple[int, int, int]]:
    """Shapes (C_l, H_l, W_l) of z_1, …, z_L.

    Raises:
        ValueError: as many channels as halvings are not given, or halvings do not suit the image.
    """
    if len(latent_channels) != len(halvings):
        raise ValueError(
            f"latent_channels and halvings must have one entry for each layer, got {list(latent_channels)} and "
            f"{list(halvings)}"
        )
    sizes = map_sizes(data_shape, halvings)
    return [(c, *size) for c, size in zip(latent_channels, sizes, strict=True)]


def map_widths(width: int, growth: int, halvings: Sequence[int]) -> list[int]:
    """Channels of the map of each layer: `width` next to the data, and `growth` times as many after each halving.

    Small maps are cheap: with a growth of 2 a convolution costs the same at every size, and has 4 times the weights.
    """
    return [width * growth ** (count - halvings[0]) for count in halvings]


class ZeroConv2d(nn.Conv2d):
    """A convolution whose weights start at zero, whatever the initialization of the model's other layers."""

    def reset_parameters(self) -> None:
        for parameter in self.parameters():
            nn.init.zeros_(parameter)


class GaussianMaps(nn.Module):
    """N(z; μ(h), diag σ²(h)), μ and log σ² by residual blocks and a 3x3 convolution that starts at zero.

    Training starts with N(0, I) everywhere: variances that are far from each other's by chance at the beginning make
    the KL of deep models so large that they collapse to the prior.

    Shapes: h (..., width, H, W) → batch (...), event (out_channels H W,).

    Args:
        width: Channels of h.
        out_channels: Channels of z.
        blocks: Residual blocks; none: linear in h.
        activation: A name from `aevb.networks.ACTIVATIONS`.
    """

    def __init__(self, width: int, out_channels: int, blocks: int, activation: Activation) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(ResidualBlock(width, activation) for _ in range(blocks)))
        self.layer = ZeroConv2d(width, 2 * out_channels, kernel_size=3, padding=1)

    def parameters_of(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """μ and log σ², (..., out_channels H W) each, in float32 at least."""
        raw = over_maps(self.layer, over_maps(self.blocks, h.to(self.layer.weight.dtype)))
        raw = raw.to(torch.promote_types(raw.dtype, torch.float32))
        mean, log_variance = raw.flatten(-3).chunk(2, dim=-1)
        return mean, log_variance

    def forward(self, h: Tensor) -> Distribution:
        return diagonal_gaussian(*self.parameters_of(h))


class ConvPyramid(Backbone):
    """Backbone of q(z|x) over maps: features of the image at several sizes, from the largest to the smallest.

    A 3x3 convolution, then for each halving one of stride 2, each followed by residual blocks. There is no
    normalization.

    Shapes: (..., C, H, W) → (..., Σ C_k H_k W_k), the maps at the different sizes of `halvings`, flattened.

    Args:
        data_shape: Shape (C, H, W) of one image.
        halvings: How often the sides of the image are halved for each layer, see `map_sizes`.
        width: Channels of the map next to the data, and of those before it.
        blocks: Residual blocks at each size.
        activation: A name from `aevb.networks.ACTIVATIONS`.
        growth: How many times the channels at each further halving, see `map_widths`.
    """

    def __init__(
        self,
        data_shape: Shape,
        halvings: Halvings,
        width: Size = 32,
        blocks: CountOrZero = 1,
        activation: Activation = "silu",
        growth: Size = 1,
    ) -> None:
        super().__init__()
        sizes = dict(zip(halvings, map_sizes(data_shape, halvings), strict=True))
        self.emitted = set(sizes)
        self.stages = nn.ModuleList()
        levels = range(max(halvings) + 1)
        widths = [width, *map_widths(width, growth, [max(level, halvings[0]) for level in levels])]
        for level in levels:
            before, width = widths[level : level + 2]
            first = nn.Conv2d(before if level else data_shape[0], width, 3, stride=2 if level else 1, padding=1)
            # The image's own size is the most expensive; without latent variables there, it has one convolution.
            count = blocks if level or 0 in sizes else 0
            between = [ACTIVATIONS[activation]()] if level else []
            self.stages.append(
                nn.Sequential(*between, first, *(ResidualBlock(width, activation) for _ in range(count)))
            )
        self.out_shape = (sum(widths[level + 1] * math.prod(size) for level, size in sizes.items()),)

    def forward(self, x: Tensor) -> Tensor:
        h, maps = x, []
        for level, stage in enumerate(self.stages):
            h = over_maps(stage, h)
            if level in self.emitted:
                maps.append(h.flatten(-3))
        return torch.cat(maps, dim=-1)


def enlargement(data_shape: Shape, halvings: int, width: int, activation: Activation) -> nn.Sequential:
    """Transposed convolutions of stride 2 from maps on the image's sides halved so often to those of the image."""
    layers = nn.Sequential()
    for count in reversed(range(halvings)):
        size = map_sizes(data_shape, [count])[0]
        layers += nn.Sequential(ACTIVATIONS[activation](), Upsample(width, width, size))
    if halvings:
        layers.append(ACTIVATIONS[activation]())
    return layers


class LastMaps(Backbone):
    """A decoder of the state of `priors.ConvTopDown` after its last layer, enlarged to the size of the image.

    Transposed convolutions of stride 2 enlarge it, as in `ConvDecoder`.

    Shapes: z (..., latent_dim) → (..., width, H, W).

    Args:
        latent_dim: Dimensions of z.
        data_shape: Shape (C, H, W) of one image.
        halvings: Of each layer, see `map_sizes`.
        width: Channels of the state after the last layer.
        activation: A name from `aevb.networks.ACTIVATIONS`.
    """

    def __init__(
        self,
        latent_dim: Size,
        data_shape: Shape,
        halvings: Halvings,
        width: Size = 32,
        activation: Activation = "silu",
    ) -> None:
        super().__init__()
        map_sizes(data_shape, halvings)
        self.enlarge = enlargement(data_shape, halvings[0], width, activation)
        self.out_shape = (width, *data_shape[1:])
        # In a tuple the prior is no submodule: its parameters remain its own.
        self._prior: tuple[Any, ...] = ()

    def connect(self, p: Any, q: Any) -> None:
        """Take the prior, whose state is decoded."""
        self._prior = (p.prior,)

    def forward(self, z: Tensor) -> Tensor:
        state = cast(Tensor, self._prior[0].last_state(as_weights(z, self._prior[0])))
        return over_maps(self.enlarge, as_weights(state, self))


class CodeMaps(Backbone):
    """A decoder of codes over an image, as convolutions: a 3x3 one, residual blocks, then as `LastMaps` to its size.

    Shapes: z (..., N · code_dim), [e_{k_1}, …, e_{k_N}] by rows of the map → (..., width, H, W).

    Args:
        latent_dim: N · code_dim.
        data_shape: Shape (C, H, W) of one image.
        code_dim: Dimensions of the vector of a code.
        halvings: One number: how often the image's sides are halved to those of the map of codes, see `map_sizes`.
        width: Channels of each map.
        blocks: Residual blocks at the size of the map of codes.
        activation: A name from `aevb.networks.ACTIVATIONS`.

    Raises:
        ValueError: the map of codes has not latent_dim dimensions.
    """

    def __init__(
        self,
        latent_dim: Size,
        data_shape: Shape,
        code_dim: Size,
        halvings: Halvings,
        width: Size = 32,
        blocks: CountOrZero = 1,
        activation: Activation = "silu",
    ) -> None:
        super().__init__()
        (shape,) = latent_maps(data_shape, [code_dim], halvings)
        if math.prod(shape) != latent_dim:
            raise ValueError(f"latent_dim must be that of maps {list(shape)}, {math.prod(shape)}, got {latent_dim}")
        self.map = shape
        self.layers = nn.Sequential(
            nn.Conv2d(code_dim, width, kernel_size=3, padding=1),
            *(ResidualBlock(width, activation) for _ in range(blocks)),
            *enlargement(data_shape, halvings[0], width, activation),
        )
        self.out_shape = (width, *data_shape[1:])

    def forward(self, z: Tensor) -> Tensor:
        dim, height, width = self.map
        return over_maps(self.layers, z.unflatten(-1, (height, width, dim)).movedim(-1, -3))

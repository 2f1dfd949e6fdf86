"""Convolutional priors over several layers of latent maps."""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aevb.networks.base import Activation
from aevb.networks.convolutional import ResidualBlock
from aevb.networks.spatial import GaussianMaps, latent_maps, map_widths, over_maps
from aevb.priors.base import Prior
from aevb.priors.factorized import StandardNormal
from aevb.priors.hierarchical import SharedState
from aevb.types import CountOrZero, Halvings, Shape, Size, Sizes


class ConvTopDown(SharedState):
    """p(z) = p(z_L) Π_{l<L} N(z_l; μ_l(h_l), diag σ_l²(h_l)), z_l and the state h_l maps of one size.

        h_{l−1} = f_l(h_l + W_l z_l), enlarged where the layer below is larger

    from a learned h_L, with f_l residual blocks (and a 1x1 convolution where the layer below has fewer channels), W_l
    a 1x1 convolution and μ_l, log σ_l² residual blocks and a 3x3 convolution; maps are enlarged by nearest neighbours.
    There is no normalization. The posteriors `posteriors.ConvTopDown` and `ConvLadder` and the decoder
    `networks.LastMaps` read the same state.

    Sources: Kingma et al. (2016), arXiv 1606.04934, section 3 (ResNet VAE); Child (2021), arXiv 2011.10650, section 3.

    Shapes: batch (), event (latent_dim,); each z_l is (C_l, H_l, W_l), flattened.

    Args:
        latent_dim: Σ C_l H_l W_l.
        data_shape: Shape (C, H, W) of one image.
        latent_channels: C_1, …, C_L; z_1 is next to the data.
        halvings: How often the image's sides are halved, rounded up, to those of z_1, …, z_L.
        width: Channels of h_1 and h_0.
        blocks: Residual blocks of f_l, and of each conditional.
        activation: A name from `aevb.networks.ACTIVATIONS`.
        top: (latent_dim) → p(z_L), any prior.
        growth: How many times the channels of h_l at each further halving, see `networks.spatial.map_widths`.
    """

    def __init__(
        self,
        latent_dim: Size,
        data_shape: Shape,
        latent_channels: Sizes,
        halvings: Halvings,
        width: Size = 32,
        blocks: CountOrZero = 1,
        activation: Activation = "silu",
        top: Callable[[int], Prior] = StandardNormal,
        growth: Size = 1,
    ) -> None:
        shapes = latent_maps(data_shape, latent_channels, halvings)
        super().__init__(latent_dim, [math.prod(shape) for shape in shapes], top)
        self.latent_shapes = shapes
        widths = map_widths(width, growth, halvings)
        layers = list(zip(widths, latent_channels, strict=True))
        self.start = nn.Parameter(torch.zeros(widths[-1], *shapes[-1][1:]))
        self.conditionals = nn.ModuleList(
            GaussianMaps(width, channels, blocks, activation) for width, channels in layers[:-1]
        )
        self.inputs = nn.ModuleList(nn.Conv2d(channels, width, kernel_size=1) for width, channels in layers)
        self.updates = nn.ModuleList()
        for width, below in zip(widths, widths[:1] + widths[:-1], strict=True):
            fewer = [nn.Conv2d(width, below, kernel_size=1)] if below != width else []
            self.updates.append(nn.Sequential(*(ResidualBlock(width, activation) for _ in range(blocks)), *fewer))

    def next_state(self, layer: int, h: Tensor, z: Tensor) -> Tensor:
        """h (..., *map of the state) and z (..., C_l H_l W_l) → (..., *map of the state of the layer below)."""
        z = z.unflatten(-1, self.latent_shapes[layer])
        h = over_maps(self.updates[layer], h + over_maps(self.inputs[layer], z))
        size = self.latent_shapes[max(layer - 1, 0)][1:]
        return h if h.shape[-2:] == size else over_maps(partial(F.interpolate, size=size), h)

"""Convolutional posteriors over several layers of latent maps, for the prior `priors.ConvTopDown`."""

import math
from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.distributions import Distribution

from aevb.networks.base import Activation
from aevb.networks.spatial import GaussianMaps, latent_maps, map_widths, over_maps
from aevb.posteriors.hierarchical import FromState, product
from aevb.types import CountOrZero, Halvings, Shape, Size, Sizes


class ConvTopDown(FromState):
    """q(z|x) = Π_l N(z_l; μ_l + Δμ_l, diag σ_l² exp(Δ_l)), [Δμ_l, Δ_l] = g_l(h_l + A_l a_l(x)).

    a_l are the maps of `networks.ConvPyramid` of the layer's size, A_l a 1x1 convolution, g_l residual blocks and a 3x3
    convolution. h_l is the state of `priors.ConvTopDown` at the posterior's own draws, μ_l and σ_l² are those of its
    conditional; at the top they are 0 and 1.

    Sources: Kingma et al. (2016), arXiv 1606.04934, section 3; Vahdat & Kautz (2020), arXiv 2007.03898, section 3.2
    (residual parameterization).

    Args:
        data_shape: Shape (C, H, W) of one image.
        latent_channels: C_1, …, C_L; z_1 is next to the data.
        halvings: How often the image's sides are halved, rounded up, to those of z_1, …, z_L.
        width: Channels of the prior's state and of the encoder's map next to the data.
        blocks: Residual blocks of each g_l.
        activation: A name from `aevb.networks.ACTIVATIONS`.
        growth: How many times the channels at each further halving, as the prior's.
    """

    def __init__(
        self,
        in_features: int,
        latent_dim: Size,
        data_shape: Shape,
        latent_channels: Sizes,
        halvings: Halvings,
        width: Size = 32,
        blocks: CountOrZero = 1,
        activation: Activation = "silu",
        growth: Size = 1,
    ) -> None:
        shapes = latent_maps(data_shape, latent_channels, halvings)
        super().__init__(in_features, latent_dim, [math.prod(shape) for shape in shapes])
        widths = map_widths(width, growth, halvings)
        self.maps = {count: (w, *shape[1:]) for count, w, shape in zip(halvings, widths, shapes, strict=True)}
        if sum(map(math.prod, self.maps.values())) != in_features:
            raise ValueError(
                f"needs an encoder that gives maps of the shapes {list(self.maps.values())}, {in_features} features do "
                "not fit; use model/encoder=pyramid with the same halvings, width and growth"
            )
        self.halvings = tuple(halvings)
        self.features = nn.ModuleList(nn.Conv2d(width, width, kernel_size=1) for width in widths)
        self.updates = nn.ModuleList(
            GaussianMaps(width, channels, blocks, activation)
            for width, channels in zip(widths, latent_channels, strict=True)
        )

    def features_of(self, h: Tensor) -> Sequence[Tensor]:
        parts = h.split([math.prod(shape) for shape in self.maps.values()], dim=-1)
        maps = {count: part.unflatten(-1, self.maps[count]) for count, part in zip(self.maps, parts, strict=True)}
        return [over_maps(layer, maps[count]) for layer, count in zip(self.features, self.halvings, strict=True)]

    def update(self, layer: int, state: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        return cast(GaussianMaps, self.updates[layer]).parameters_of(state + features)


class ConvLadder(ConvTopDown):
    """q(z|x) = q(z_L|x) Π_{l<L} q(z_l | z_>l, x), each a precision-weighted product with the prior's conditional.

        q(z_l | z_>l, x) ∝ N(z_l; μ̂_l, diag σ̂_l²) · p(z_l | z_>l),   [μ̂_l, log σ̂_l²] = g_l(A_l a_l(x))

    a_l, A_l and g_l are those of `ConvTopDown`. The estimate from the data sees no z.

    Source: Sønderby et al. (2016), arXiv 1602.02282, eq. 11 to 19.
    """

    def update(self, layer: int, state: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        return cast(GaussianMaps, self.updates[layer]).parameters_of(features)

    def merge(self, of_prior: tuple[Tensor, Tensor], update: tuple[Tensor, Tensor]) -> Distribution:
        return product(of_prior, update)

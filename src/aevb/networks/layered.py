"""Decoders of models with several layers of latent variables, z = [z_1, …, z_L] with z_1 next to the data."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from aevb.networks.base import Backbone, as_weights
from aevb.types import Shape, Size, Sizes


class FirstLayer(Backbone):
    """A decoder of z_1 alone: p(x|z) = p(x|z_1).

    Shapes: z (..., Σ latent_dims) → features of the decoder.

    Args:
        latent_dim: Σ latent_dims.
        data_shape: Shape of one datapoint.
        latent_dims: Dimensions of z_1, …, z_L.
        decoder: (latent_dim, data_shape) → decoder of z_1.
    """

    def __init__(
        self, latent_dim: Size, data_shape: Shape, latent_dims: Sizes, decoder: Callable[..., Backbone]
    ) -> None:
        super().__init__()
        self.size = latent_dims[0]
        self.decoder = decoder(self.size, data_shape)
        self.out_shape = self.decoder.out_shape

    def forward(self, z: Tensor) -> Tensor:
        features: Tensor = self.decoder(z[..., : self.size])
        return features


class LastState(Backbone):
    """A decoder of the state of `priors.TopDown` after its last layer: p(x|z) = p(x|h_0(z)).

    Shapes: z (..., Σ latent_dims) → features of the decoder.

    Args:
        latent_dim: Σ latent_dims.
        data_shape: Shape of one datapoint.
        width: Size of the state.
        decoder: (width, data_shape) → decoder of the state.
    """

    def __init__(self, latent_dim: Size, data_shape: Shape, width: Size, decoder: Callable[..., Backbone]) -> None:
        super().__init__()
        self.decoder = decoder(width, data_shape)
        self.out_shape = self.decoder.out_shape
        # In a tuple the prior is no submodule: its parameters remain its own.
        self._prior: tuple[Any, ...] = ()

    def connect(self, p: Any, q: Any) -> None:
        """Take the prior, whose state is decoded."""
        self._prior = (p.prior,)

    def forward(self, z: Tensor) -> Tensor:
        features: Tensor = self.decoder(
            as_weights(self._prior[0].last_state(as_weights(z, self._prior[0])), self.decoder)
        )
        return features

"""Priors over several layers of latent variables."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from aevb.distributions.chain import Chain, Program, layers_of
from aevb.networks.base import Activation
from aevb.networks.gaussian import GaussianMLP
from aevb.networks.mlp import MLP
from aevb.priors.base import Prior
from aevb.priors.factorized import StandardNormal
from aevb.types import Size, Sizes


class Hierarchical(Prior):
    """p(z) = p(z_L) Π_{l<L} N(z_l; μ_l(z_{l+1}), diag σ_l²(z_{l+1})), z = [z_1, …, z_L].

    Source: Rezende, Mohamed & Wierstra (2014), arXiv 1401.4082, eq. 1 to 3; the conditionals are Gaussian MLPs.

    Shapes: batch (), event (Σ latent_dims,).

    Args:
        latent_dim: Σ latent_dims.
        latent_dims: Dimensions of z_1, …, z_L; z_1 is next to the data.
        hidden: Units of the hidden layers of each conditional.
        activation: Of the hidden layers.
        top: (latent_dim) → p(z_L), any prior.
    """

    def __init__(
        self,
        latent_dim: Size,
        latent_dims: Sizes,
        hidden: Sizes = (200,),
        activation: Activation = "tanh",
        top: Callable[[int], Prior] = StandardNormal,
    ) -> None:
        super().__init__(latent_dim)
        self.latent_dims = layers_of(latent_dim, latent_dims)
        self.top = top(self.latent_dims[-1])
        self.layers = nn.ModuleList(
            GaussianMLP(above, dim, hidden, activation)
            for dim, above in zip(self.latent_dims, self.latent_dims[1:], strict=False)
        )

    def connect(self, p: Any, q: Any) -> None:
        self.top.connect(p, q)

    def forward(self) -> Distribution:
        return Chain(self.program, self.latent_dims, range(len(self.latent_dims))[::-1])

    def program(self) -> Program:
        """p(z_L), then p(z_l | z_{l+1}) downwards."""
        z = yield self.top()
        for layer in reversed(self.layers):
            z = yield layer(z)


class TopDown(Prior):
    """p(z) = Π_l p(z_l | z_>l) by a deterministic state h that each layer adds to, z = [z_1, …, z_L].

        p(z_l | z_>l) = N(z_l; μ_l(h_l), diag σ_l²(h_l)),   h_{l−1} = h_l + W_l z_l + f_l(h_l + W_l z_l)

    from a learned h_L. The posterior `posteriors.TopDown` and the decoder `networks.LastState` read the same state.

    Sources: Kingma et al. (2016), arXiv 1606.04934, section 3 (ResNet VAE); Child (2021), arXiv 2011.10650.

    Shapes: batch (), event (Σ latent_dims,).

    Args:
        latent_dim: Σ latent_dims.
        latent_dims: Dimensions of z_1, …, z_L; z_1 is next to the data.
        width: Size of h.
        hidden: Units of the hidden layers of f_l and of the conditionals.
        activation: Of the hidden layers.
    """

    def __init__(
        self,
        latent_dim: Size,
        latent_dims: Sizes,
        width: Size = 200,
        hidden: Sizes = (200,),
        activation: Activation = "tanh",
    ) -> None:
        super().__init__(latent_dim)
        self.latent_dims = layers_of(latent_dim, latent_dims)
        self.start = nn.Parameter(torch.zeros(width))
        self.conditionals = nn.ModuleList(GaussianMLP(width, dim, hidden, activation) for dim in latent_dims)
        self.inputs = nn.ModuleList(nn.Linear(dim, width) for dim in latent_dims)
        self.updates = nn.ModuleList(
            nn.Sequential(mlp := MLP((width,), hidden, activation), nn.Linear(mlp.out_shape[0], width))
            for _ in latent_dims
        )

    def forward(self) -> Distribution:
        return Chain(self.program, self.latent_dims, range(len(self.latent_dims))[::-1])

    def program(self) -> Program:
        """p(z_L), then p(z_l | z_>l) downwards."""
        h: Tensor = self.start
        for layer in reversed(range(len(self.latent_dims))):
            z = yield self.conditionals[layer](h)
            h = self.next_state(layer, h, z)

    def next_state(self, layer: int, h: Tensor, z: Tensor) -> Tensor:
        """h_{l−1} of h_l (..., width) and z_l (..., latent_dims[l])."""
        h = h + self.inputs[layer](z)
        state: Tensor = h + self.updates[layer](h)
        return state

    def last_state(self, z: Tensor) -> Tensor:
        """h_0, after all layers: z (..., Σ latent_dims) → (..., width)."""
        h: Tensor = self.start
        blocks = z.split(self.latent_dims, dim=-1)
        for layer in reversed(range(len(self.latent_dims))):
            h = self.next_state(layer, h, blocks[layer])
        return h

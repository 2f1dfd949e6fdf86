"""Priors over several layers of latent variables."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
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


class Layered(Prior):
    """Base class of priors over layers that are drawn from the top, z_L, downwards.

    Shapes: batch (), event (Σ latent_dims,).

    Args:
        latent_dim: Σ latent_dims.
        latent_dims: Dimensions of z_1, …, z_L; z_1 is next to the data.
        top: (latent_dim) → p(z_L), any prior.
    """

    def __init__(self, latent_dim: int, latent_dims: Sequence[int], top: Callable[[int], Prior]) -> None:
        super().__init__(latent_dim)
        self.latent_dims = layers_of(latent_dim, latent_dims)
        self.top = top(self.latent_dims[-1])

    def connect(self, p: Any, q: Any) -> None:
        self.top.connect(p, q)

    def forward(self) -> Distribution:
        return Chain(self.program, self.latent_dims, range(len(self.latent_dims))[::-1])

    @abstractmethod
    def program(self) -> Program:
        """p(z_L), then the conditional of each layer given those above it, downwards."""


class Hierarchical(Layered):
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
        super().__init__(latent_dim, latent_dims, top)
        self.layers = nn.ModuleList(
            GaussianMLP(above, dim, hidden, activation)
            for dim, above in zip(self.latent_dims, self.latent_dims[1:], strict=False)
        )

    def program(self) -> Program:
        z = yield self.top()
        for layer in reversed(self.layers):
            z = yield layer(z)


class SharedState(Layered):
    """Base class of priors whose layers share a deterministic state h, from a learned start downwards.

        p(z) = p(z_L) Π_{l<L} N(z_l; μ_l(h_l), diag σ_l²(h_l)),   h_{l−1} = next_state(h_l, z_l),   h_L = start

    A posterior and a decoder may read the same state.

    Shapes: batch (), event (Σ latent_dims,).

    Args:
        latent_dim: Σ latent_dims.
        latent_dims: Dimensions of z_1, …, z_L; z_1 is next to the data.
        top: (latent_dim) → p(z_L), any prior.
    """

    start: nn.Parameter
    conditionals: nn.ModuleList
    """Of z_1, …, z_{L−1}, each with `parameters_of(h)`."""

    def program(self) -> Program:
        z = yield self.top()
        h: Tensor = self.start
        for layer in reversed(range(len(self.latent_dims) - 1)):
            h = self.next_state(layer + 1, h, z)
            z = yield self.conditionals[layer](h)

    @abstractmethod
    def next_state(self, layer: int, h: Tensor, z: Tensor) -> Tensor:
        """The state of the layer below, of h (..., *state) and z (..., latent_dims[layer]); below layer 0, h_0."""

    def last_state(self, z: Tensor) -> Tensor:
        """h_0, after all layers: z (..., Σ latent_dims) → (..., *state)."""
        h: Tensor = self.start
        blocks = z.split(self.latent_dims, dim=-1)
        for layer in reversed(range(len(self.latent_dims))):
            h = self.next_state(layer, h, blocks[layer])
        return h


class TopDown(SharedState):
    """p(z) = p(z_L) Π_{l<L} p(z_l | z_>l) by a deterministic state h that each layer adds to, z = [z_1, …, z_L].

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
        top: (latent_dim) → p(z_L), any prior.
    """

    def __init__(
        self,
        latent_dim: Size,
        latent_dims: Sizes,
        width: Size = 200,
        hidden: Sizes = (200,),
        activation: Activation = "tanh",
        top: Callable[[int], Prior] = StandardNormal,
    ) -> None:
        super().__init__(latent_dim, latent_dims, top)
        self.start = nn.Parameter(torch.zeros(width))
        self.conditionals = nn.ModuleList(GaussianMLP(width, dim, hidden, activation) for dim in latent_dims[:-1])
        self.inputs = nn.ModuleList(nn.Linear(dim, width) for dim in latent_dims)
        self.updates = nn.ModuleList(
            nn.Sequential(mlp := MLP((width,), hidden, activation), nn.Linear(mlp.out_shape[0], width))
            for _ in latent_dims
        )

    def next_state(self, layer: int, h: Tensor, z: Tensor) -> Tensor:
        """h (..., width) and z (..., latent_dims[layer]) → (..., width)."""
        h = h + self.inputs[layer](z)
        state: Tensor = h + self.updates[layer](h)
        return state

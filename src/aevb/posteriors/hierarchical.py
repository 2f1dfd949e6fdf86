"""Posteriors over several layers of latent variables, z = [z_1, …, z_L] with z_1 next to the data."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from aevb.distributions.chain import Chain, Program, layers_of
from aevb.distributions.gaussian import diagonal_gaussian
from aevb.networks.base import Activation, as_weights
from aevb.networks.gaussian import GaussianMLP
from aevb.networks.mlp import MLP
from aevb.posteriors.base import RecognitionHead
from aevb.types import Size, Sizes


class Layered(RecognitionHead):
    """Base class of posteriors over several layers: a `Chain` with event (Σ latent_dims,).

    Args:
        latent_dim: Σ latent_dims.
        latent_dims: Dimensions of z_1, …, z_L.

    Raises:
        ValueError: latent_dims do not add up to latent_dim.
    """

    order_is_upwards = False

    def __init__(self, in_features: int, latent_dim: Size, latent_dims: Sizes) -> None:
        super().__init__(in_features, latent_dim)
        self.latent_dims = layers_of(latent_dim, latent_dims)

    def forward(self, h: Tensor) -> Distribution:
        order = range(len(self.latent_dims))
        names = [str(layer + 1) for layer in order]
        return Chain(lambda: self.program(h), self.latent_dims, order if self.order_is_upwards else order[::-1], names)

    @abstractmethod
    def program(self, h: Tensor) -> Program:
        """The conditionals in the order in which layers are drawn."""


class BottomUp(Layered):
    """q(z|x) = q(z_1|x) Π_l N(z_{l+1}; μ_l(z_l), diag σ_l²(z_l)).

    Sources: Rezende, Mohamed & Wierstra (2014); Burda, Grosse & Salakhutdinov (2016), arXiv 1509.00519, section 3.

    Args:
        hidden: Units of the hidden layers of each conditional.
        activation: Of the hidden layers.
    """

    order_is_upwards = True

    def __init__(
        self,
        in_features: int,
        latent_dim: Size,
        latent_dims: Sizes,
        hidden: Sizes = (200,),
        activation: Activation = "tanh",
    ) -> None:
        super().__init__(in_features, latent_dim, latent_dims)
        self.first = GaussianMLP(in_features, self.latent_dims[0], (), activation)
        self.layers = nn.ModuleList(
            GaussianMLP(dim, above, hidden, activation)
            for dim, above in zip(self.latent_dims, self.latent_dims[1:], strict=False)
        )

    def program(self, h: Tensor) -> Program:
        z = yield self.first(h)
        for layer in self.layers:
            z = yield layer(z)


class Ladder(Layered):
    """q(z|x) = q(z_L|x) Π_{l<L} q(z_l | z_{l+1}, x), each a precision-weighted product with the prior's conditional.

        q(z_l | z_{l+1}, x) ∝ N(z_l; μ̂_l(d_l), diag σ̂_l²(d_l)) · p(z_l | z_{l+1}),   d_1 = h, d_{l+1} = f_l(d_l)

    The prior is `priors.Hierarchical`.

    Source: Sønderby et al. (2016), arXiv 1602.02282, eq. 11 to 19.

    Args:
        hidden: Units of the hidden layers of each f_l.
        activation: Of the hidden layers.
    """

    def __init__(
        self,
        in_features: int,
        latent_dim: Size,
        latent_dims: Sizes,
        hidden: Sizes = (200,),
        activation: Activation = "tanh",
    ) -> None:
        super().__init__(in_features, latent_dim, latent_dims)
        features, self.updates, self.estimates = in_features, nn.ModuleList(), nn.ModuleList()
        for layer, dim in enumerate(self.latent_dims):
            if layer:
                self.updates.append(mlp := MLP((features,), hidden, activation))
                features = mlp.out_shape[0]
            self.estimates.append(GaussianMLP(features, dim, (), activation))
        self._prior: tuple[Any, ...] = ()

    def connect(self, p: Any, q: Any) -> None:
        require_layers(p.prior, self, "layers")
        self._prior = (p.prior,)

    def program(self, h: Tensor) -> Program:
        states = [as_weights(h, self)]
        for update in self.updates:
            states.append(update(states[-1]))
        z = yield self.estimates[-1](states[-1])
        for layer in reversed(range(len(self.latent_dims) - 1)):
            estimate = cast(GaussianMLP, self.estimates[layer])
            z = yield product(self._prior[0].layers[layer].parameters_of(z), estimate.parameters_of(states[layer]))


class FromState(Layered):
    """Base class of posteriors that read the state h of a `priors.SharedState` at their own draws.

    q(z|x) = q(z_L | h_L, x) Π_{l<L} q(z_l | h_l, x), from the top downwards.
    """

    _prior: tuple[Any, ...] = ()

    def connect(self, p: Any, q: Any) -> None:
        require_layers(p.prior, self, "next_state")
        self._prior = (p.prior,)

    def program(self, h: Tensor) -> Program:
        (prior,), features = self._prior, self.features_of(as_weights(h, self))
        state, top = prior.start, len(self.latent_dims) - 1
        z = yield diagonal_gaussian(*self.update(top, state, features[top]))
        for layer in reversed(range(top)):
            state = prior.next_state(layer + 1, state, z)
            of_prior = prior.conditionals[layer].parameters_of(state)
            z = yield self.merge(of_prior, self.update(layer, state, features[layer]))

    @abstractmethod
    def features_of(self, h: Tensor) -> Sequence[Tensor]:
        """What each layer sees of the encoder's features h (B, in_features)."""

    @abstractmethod
    def update(self, layer: int, state: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Two parameters of q(z_l | h_l, x), (..., latent_dims[layer]) each: at the top its μ and log σ²."""

    def merge(self, of_prior: tuple[Tensor, Tensor], update: tuple[Tensor, Tensor]) -> Distribution:
        """q(z_l | h_l, x) below the top: the prior's μ and log σ², each with an addition."""
        (mean, log_variance), (shift, log_factor) = of_prior, update
        return diagonal_gaussian(mean + shift, log_variance + log_factor)


class TopDown(FromState):
    """q(z|x) = Π_l N(z_l; μ_l + Δμ_l, diag σ_l² exp(Δ_l)), Δμ_l and Δ_l from [h_l, a_l(x)], a_l linear in the features.

    h_l is the state of `priors.TopDown` at the posterior's own draws, μ_l and σ_l² are those of its conditional; at the
    top they are 0 and 1.

    Sources: Kingma et al. (2016), arXiv 1606.04934, section 3; Vahdat & Kautz (2020), arXiv 2007.03898, section 3.2
    (residual parameterization).

    Args:
        width: Size of the prior's state h.
        hidden: Units of the hidden layers of each conditional.
        activation: Of the hidden layers.
    """

    def __init__(
        self,
        in_features: int,
        latent_dim: Size,
        latent_dims: Sizes,
        width: Size = 200,
        hidden: Sizes = (200,),
        activation: Activation = "tanh",
    ) -> None:
        super().__init__(in_features, latent_dim, latent_dims)
        self.features = nn.ModuleList(nn.Linear(in_features, width) for _ in self.latent_dims)
        self.residuals = nn.ModuleList(GaussianMLP(2 * width, dim, hidden, activation) for dim in self.latent_dims)

    def features_of(self, h: Tensor) -> Sequence[Tensor]:
        return [layer(h) for layer in self.features]

    def update(self, layer: int, state: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        joint = torch.cat(torch.broadcast_tensors(state, features), dim=-1)
        return cast(GaussianMLP, self.residuals[layer]).parameters_of(joint)


def product(of_prior: tuple[Tensor, Tensor], estimate: tuple[Tensor, Tensor]) -> Distribution:
    """The normalized product of p(z_l | z_>l) and an estimate from the data, given by their μ and log σ²."""
    (mean_p, log_variance_p), (mean, log_variance) = of_prior, estimate
    share = torch.sigmoid(log_variance_p - log_variance)  # of the estimate in the precision
    return diagonal_gaussian(torch.lerp(mean_p, mean, share), -torch.logaddexp(-log_variance, -log_variance_p))


def require_layers(prior: Any, posterior: Layered, attribute: str) -> None:
    """Raise a `ValueError` unless the prior has the posterior's layers, and the attribute that it reads."""
    if not hasattr(prior, attribute) or getattr(prior, "latent_dims", None) != posterior.latent_dims:
        raise ValueError(
            f"posterior {type(posterior).__name__} of layers {list(posterior.latent_dims)} does not fit the prior "
            f"{type(prior).__name__} of layers {list(getattr(prior, 'latent_dims', [prior.latent_dim]))}"
        )

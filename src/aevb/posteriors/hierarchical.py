"""Posteriors over several layers of latent variables, z = [z_1, …, z_L] with z_1 next to the data."""

from abc import abstractmethod
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

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
            z = yield self.product(self._prior[0].layers[layer].parameters_of(z), self.estimates[layer], states[layer])

    def product(self, of_prior: tuple[Tensor, Tensor], estimate: Any, state: Tensor) -> Distribution:
        """The normalized product of p(z_l | z_{l+1}) and the estimate from the data."""
        (mean_p, log_variance_p), (mean, log_variance) = of_prior, estimate.parameters_of(state)
        precision_p, precision = (-log_variance_p).exp(), (-log_variance).exp()
        total = precision + precision_p
        joint = Normal((mean * precision + mean_p * precision_p) / total, total.rsqrt(), validate_args=False)
        return Independent(joint, 1, validate_args=False)


class TopDown(Layered):
    """q(z|x) = Π_l N(z_l; μ_l + Δμ_l, diag σ_l² exp(Δ_l)), Δμ_l and Δ_l from [h_l, a_l(x)], a_l linear in the features.

    h_l is the state of `priors.TopDown` at the posterior's own draws, μ_l and σ_l² are those of its conditional.

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
        self._prior: tuple[Any, ...] = ()

    def connect(self, p: Any, q: Any) -> None:
        require_layers(p.prior, self, "next_state")
        self._prior = (p.prior,)

    def program(self, h: Tensor) -> Program:
        (prior,), state = self._prior, self._prior[0].start
        for layer in reversed(range(len(self.latent_dims))):
            a = self.features[layer](as_weights(h, self))
            joint = torch.cat(torch.broadcast_tensors(state, a), dim=-1)
            mean_p, log_variance_p = prior.conditionals[layer].parameters_of(state)
            shift, log_factor = cast(GaussianMLP, self.residuals[layer]).parameters_of(joint)
            z = yield diagonal_gaussian(mean_p + shift, log_variance_p + log_factor)
            state = prior.next_state(layer, state, z)


def require_layers(prior: Any, posterior: Layered, attribute: str) -> None:
    """Raise a `ValueError` unless the prior has the posterior's layers, and the attribute that it reads."""
    if not hasattr(prior, attribute) or getattr(prior, "latent_dims", None) != posterior.latent_dims:
        raise ValueError(
            f"posterior {type(posterior).__name__} of layers {list(posterior.latent_dims)} does not fit the prior "
            f"{type(prior).__name__} of layers {list(getattr(prior, 'latent_dims', [prior.latent_dim]))}"
        )

"""Posteriors by normalizing flows over a Gaussian, conditioned on the encoder's features."""

from torch import Tensor, nn
from torch.distributions import Distribution

from aevb.distributions.flows import GaussianFlow, affine_autoregressive, spline_coupling
from aevb.posteriors.base import Posterior
from aevb.types import AtLeastTwo, Size, Sizes


class FlowPosterior(Posterior):
    """z = μ(x) + σ(x) f(ε; c(x)) with ε ~ N(0, I); subclasses define the flow f.

    μ, log σ² and the context c are linear in the encoder's features.

    Args:
        context: Size of c.
    """

    flow: nn.Module
    """c (B, context) → f."""

    def __init__(self, in_features: int, latent_dim: int, context: Size) -> None:
        super().__init__(in_features, latent_dim, num_parameters=2 * latent_dim + context)

    def distribution(self, parameters: Tensor) -> Distribution:
        mean, log_variance, context = parameters.tensor_split((self.latent_dim, 2 * self.latent_dim), dim=-1)
        return GaussianFlow(mean, (0.5 * log_variance).exp(), self.flow(context))


class InverseAutoregressiveFlow(FlowPosterior):
    """z = μ(x) + σ(x) f(ε; c(x)) with ε ~ N(0, I) and f a chain of affine autoregressive steps.

    A step maps ε_i to shift_i + scale_i ε_i, where a masked network computes both from ε_1 … ε_{i−1} and the context c.
    A sample and its density take one pass per step; the density of any other z takes latent_dim passes per step. μ,
    log σ² and c are linear in the encoder's features. Training starts with f the identity, as `DiagonalGaussian`.

    Source: Kingma et al. (2016), Improved variational inference with inverse autoregressive flow, arXiv 1606.04934; the
    scaling by μ and σ comes after the chain here, not before it.

    Args:
        transforms: Number of steps.
        hidden: Units of the hidden layers of each step's network.
        context: Size of c.
    """

    def __init__(
        self,
        in_features: int,
        latent_dim: int,
        transforms: Size = 2,
        hidden: Sizes = (64, 64),
        context: Size = 32,
    ) -> None:
        super().__init__(in_features, latent_dim, context)
        self.flow = affine_autoregressive(latent_dim, context, transforms, list(hidden))


class SplineFlow(FlowPosterior):
    """z = μ(x) + σ(x) f(ε; c(x)) with ε ~ N(0, I) and f a chain of rational-quadratic spline couplings.

    A step maps every other dimension by a monotonic spline on [−5, 5] (the identity outside), whose knots and slopes a
    network computes from the remaining dimensions and the context c; the next step maps the others. Samples and
    densities both take one pass per step. μ, log σ² and c are linear in the encoder's features. Training starts with f
    the identity, as `DiagonalGaussian`.

    Source: Durkan et al. (2019), Neural spline flows, arXiv 1906.04032.

    Args:
        transforms: Number of steps; at least 2 map every dimension.
        bins: Pieces of each spline, at least 2.
        hidden: Units of the hidden layers of each step's network.
        context: Size of c.
    """

    def __init__(
        self,
        in_features: int,
        latent_dim: int,
        transforms: Size = 2,
        bins: AtLeastTwo = 8,
        hidden: Sizes = (64, 64),
        context: Size = 32,
    ) -> None:
        super().__init__(in_features, latent_dim, context)
        self.flow = spline_coupling(latent_dim, context, transforms, bins, list(hidden))

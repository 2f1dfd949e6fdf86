"""Prior by a normalizing flow over a Gaussian."""

import torch
from torch import Tensor
from torch.distributions import Distribution

from aevb.distributions.flows import GaussianFlow, spline_autoregressive
from aevb.priors.base import Prior
from aevb.types import AtLeastTwo, Size, Sizes


class Flow(Prior):
    """p(z) = N(g(z); 0, I) |det ∂g/∂z|, g a chain of autoregressive rational-quadratic splines, learned.

    A step maps z_i by a monotonic spline on [−5, 5] (the identity outside), whose knots and slopes a masked network
    computes from z_1 … z_{i−1}; the next step goes the other way round. A density takes one pass per step, a sample
    latent_dim passes per step. Training starts with g the identity, hence with p(z) = N(0, I).

    Source: Durkan et al. (2019), Neural spline flows, arXiv 1906.04032; as a prior: Chen et al. (2017), Variational
    lossy autoencoder, arXiv 1611.02731.

    Args:
        transforms: Number of steps.
        bins: Pieces of each spline, at least 2.
        hidden: Units of the hidden layers of each step's network.
    """

    zero: Tensor
    one: Tensor

    def __init__(self, latent_dim: int, transforms: Size = 2, bins: AtLeastTwo = 8, hidden: Sizes = (64, 64)) -> None:
        super().__init__(latent_dim)
        self.flow = spline_autoregressive(latent_dim, transforms, bins, list(hidden))
        self.register_buffer("zero", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("one", torch.ones(latent_dim), persistent=False)

    def forward(self) -> Distribution:
        return GaussianFlow(self.zero, self.one, self.flow(None).inv)

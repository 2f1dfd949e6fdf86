"""Priors given a condition."""

import math

from torch import Tensor
from torch.distributions import Distribution

from aevb.networks import GaussianMLP
from aevb.networks.base import Activation
from aevb.priors.base import Prior
from aevb.types import Shape, Sizes


class ConditionalGaussian(Prior):
    """p(z|c) = N(z; μ(c), diag σ²(c)), μ and log σ² by an MLP from the condition.

    Source: Sohn, Lee & Yan (2015), Learning structured output representation using deep conditional generative models,
    section 4.1.

    Shapes: c (B, *condition_shape) → batch (B,), event (latent_dim,).

    Args:
        condition_shape: Of c.
        hidden: Units of the hidden layers; none: linear in c.
        activation: Of the hidden layers.
    """

    def __init__(
        self, latent_dim: int, condition_shape: Shape, hidden: Sizes = (100,), activation: Activation = "tanh"
    ) -> None:
        super().__init__(latent_dim)
        self.condition_shape = tuple(condition_shape)
        self.network = GaussianMLP(math.prod(self.condition_shape), latent_dim, hidden, activation)

    def forward(self, c: Tensor | None = None) -> Distribution:
        if c is None:
            raise ValueError("the prior p(z|c) needs a condition: use p.given(c)")
        distribution: Distribution = self.network(c.reshape(len(c), -1))
        return distribution

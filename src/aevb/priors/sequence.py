"""Priors over the latent variables of a sequence, z = [z_1, …, z_T] with z_t of step_dim dimensions."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from aevb.distributions.gaussian import diagonal_gaussian
from aevb.distributions.sequence import Autoregressive, Steps
from aevb.networks.base import Activation
from aevb.networks.mlp import MLP
from aevb.priors.base import Prior
from aevb.types import Size, Sizes

MAX_LOG_VARIANCE = 4.0
"""Of a transition, so that a chain that leaves the region of its training does not grow without end."""


class OverSteps(Prior):
    """Base class: a prior that takes the lengths of sequences as the condition c, (B,).

    Shapes: batch (), or (B,) given lengths; event (T · step_dim,).

    Args:
        latent_dim: T · step_dim.
        step_dim: Dimensions of z_t.

    Raises:
        ValueError: latent_dim is no multiple of step_dim.
    """

    condition_shape = ()

    def __init__(self, latent_dim: Size, step_dim: Size) -> None:
        super().__init__(latent_dim)
        if latent_dim % step_dim:
            raise ValueError(f"latent_dim must be a multiple of step_dim, {step_dim}, got {latent_dim}")
        self.step_dim, self.steps = step_dim, latent_dim // step_dim

    def connect(self, p: Any, q: Any) -> None:
        super().connect(p, q)
        if getattr(q.head, "steps", None) != self.steps:
            raise ValueError(
                f"prior {type(self).__name__} over {self.steps} steps needs a posterior over the same steps, such as "
                f"those of model=deep_markov and model=storn, got {type(q.head).__name__}"
            )


class IndependentSteps(OverSteps):
    """p(z) = Π_t N(z_t; 0, I).

    Source: Bayer & Osendorfer, Learning stochastic recurrent networks (2014), arXiv 1411.7610.
    """

    zero: Tensor

    def __init__(self, latent_dim: Size, step_dim: Size) -> None:
        super().__init__(latent_dim, step_dim)
        self.register_buffer("zero", torch.zeros(self.steps, step_dim), persistent=False)

    def forward(self, c: Tensor | None = None) -> Distribution:
        return Steps(diagonal_gaussian(self.zero, self.zero), c, flat=True)


class Markov(OverSteps):
    """p(z) = Π_t N(z_t; μ(z_{t−1}), diag σ²(z_{t−1})) from a learned z_0, with gated transitions:

        μ = (1 − g) (W z_{t−1} + b) + g h,   log σ² = W_σ relu(h) + b_σ,   g = sigmoid(MLP(z_{t−1})),   h = MLP(z_{t−1})

    W starts as the identity: each dimension may follow a linear or a nonlinear transition.

    Source: Krishnan, Shalit & Sontag, Structured inference networks for nonlinear state space models (2017), arXiv
    1609.09869, section 5 (there the variance is a softplus; here its logarithm is cut off at 4).

    Args:
        hidden: Units of the hidden layers of g and h.
        activation: Of the hidden layers.
    """

    def __init__(
        self, latent_dim: Size, step_dim: Size, hidden: Sizes = (200,), activation: Activation = "relu"
    ) -> None:
        super().__init__(latent_dim, step_dim)
        self.start = nn.Parameter(torch.zeros(step_dim))
        self.linear = FromIdentity(step_dim, step_dim)
        self.gate, self.nonlinear = (
            nn.Sequential(mlp := MLP((step_dim,), hidden, activation), nn.Linear(mlp.out_shape[0], step_dim))
            for _ in range(2)
        )
        self.log_variance = nn.Linear(step_dim, step_dim)

    def forward(self, c: Tensor | None = None) -> Distribution:
        batch = () if c is None else c.shape
        return Autoregressive(self.transition, batch, self.steps, self.start, c, flat=True)

    def transition(self, z: Tensor, first: int = 0, state: None = None) -> tuple[Distribution, None]:
        """p(z_t | z_{t−1}) for z_{t−1} (..., step_dim), the same at each step."""
        gate, nonlinear = self.gate(z).sigmoid(), self.nonlinear(z)
        mean = torch.lerp(self.linear(z), nonlinear, gate)
        log_variance = self.log_variance(nonlinear.relu()).clamp(max=MAX_LOG_VARIANCE)
        return diagonal_gaussian(mean, log_variance), None


class FromIdentity(nn.Linear):
    """A linear layer that starts as the identity."""

    def reset_parameters(self) -> None:
        nn.init.eye_(self.weight)
        nn.init.zeros_(self.bias)

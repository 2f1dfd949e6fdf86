"""Posteriors over the latent variables of a sequence, z = [z_1, …, z_T] with z_t of step_dim dimensions."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from aevb.distributions.sequence import Autoregressive, Steps
from aevb.networks.gaussian import GaussianMLP
from aevb.networks.sequence import Context, Reads
from aevb.posteriors.base import RecognitionHead
from aevb.types import Size


class OverSteps(RecognitionHead):
    """Base class: a posterior that reads features of each step, and takes the lengths as the condition c, (B,).

    Shapes: h (B, T, in_features) → batch (B,), event (T · step_dim,).

    Args:
        in_features: Of each step.
        latent_dim: T · step_dim.
        step_dim: Dimensions of z_t.
        reads: Which steps of x q(z_t|·) depends on: `step` x_t, `future` x_{t:T}, `all` x_{1:T}.
        width: Units of each recurrent network that reads them.

    Raises:
        ValueError: latent_dim is no multiple of step_dim.
    """

    condition_shape = ()

    def __init__(self, in_features: int, latent_dim: Size, step_dim: Size, reads: Reads, width: Size) -> None:
        super().__init__(in_features, latent_dim)
        if latent_dim % step_dim:
            raise ValueError(f"latent_dim must be a multiple of step_dim, {step_dim}, got {latent_dim}")
        self.step_dim, self.steps = step_dim, latent_dim // step_dim
        self.context = Context(in_features, width, reads)

    def connect(self, p: Any, q: Any) -> None:
        if getattr(p.prior, "steps", None) != self.steps:
            raise ValueError(
                f"posterior {type(self).__name__} over {self.steps} steps needs a prior over the same steps, such as "
                f"those of model=deep_markov and model=storn, got {type(p.prior).__name__}"
            )


class IndependentSteps(OverSteps):
    """q(z|x) = Π_t N(z_t; μ(h_t), diag σ²(h_t)), h_t what the posterior reads of x.

    Source: Bayer & Osendorfer, Learning stochastic recurrent networks (2014), arXiv 1411.7610.
    """

    def __init__(
        self, in_features: int, latent_dim: Size, step_dim: Size, reads: Reads = "all", width: Size = 200
    ) -> None:
        super().__init__(in_features, latent_dim, step_dim, reads, width)
        self.gaussian = GaussianMLP(self.context.out_features, step_dim, ())

    def forward(self, h: Tensor, c: Tensor | None = None) -> Distribution:
        return Steps(self.gaussian(self.context(h.to(self.gaussian.layer.weight.dtype), c)), c, flat=True)


class Markov(OverSteps):
    """q(z|x) = Π_t N(z_t; μ(s_t), diag σ²(s_t)), s_t = ½ (tanh(W z_{t−1} + b) + h_t), from a learned z_0.

    p(z|x) of a Markov prior and p(x|z) = Π_t p(x_t|z_t) factorizes in the same way, and depends on x_{t:T} alone.

    Source: Krishnan, Shalit & Sontag, Structured inference networks for nonlinear state space models (2017), arXiv
    1609.09869, section 4 (the structured network DKS, with a GRU).
    """

    def __init__(
        self, in_features: int, latent_dim: Size, step_dim: Size, reads: Reads = "future", width: Size = 200
    ) -> None:
        super().__init__(in_features, latent_dim, step_dim, reads, width)
        self.start = nn.Parameter(torch.zeros(step_dim))
        self.from_previous = nn.Linear(step_dim, self.context.out_features)
        self.gaussian = GaussianMLP(self.context.out_features, step_dim, ())

    def forward(self, h: Tensor, c: Tensor | None = None) -> Distribution:
        context = self.context(h.to(self.from_previous.weight.dtype), c)

        def transition(z: Tensor, first: int, state: None) -> tuple[Distribution, None]:
            read = context.narrow(-2, first, z.shape[-2])
            return self.gaussian(0.5 * (torch.tanh(self.from_previous(z)) + read)), None

        return Autoregressive(transition, context.shape[:1], self.steps, self.start, c, flat=True)

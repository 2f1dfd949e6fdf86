"""Supports of latent variables, and parameters whose draws stay within them in float32."""

import math
from typing import Literal

import torch
from torch import Tensor

from aevb.errors import ConfigError

Support = Literal["real", "positive", "in (0, 1)", "on the simplex", "on the sphere", "one-hot", "among codes"]
"""Values of z: each of any sign, each positive, each between 0 and 1; positive with the sum 1; of norm 1; groups of
which one value is 1 and the others are 0; vectors of discrete codes."""

MAX_CONCENTRATION = 1e3
"""There, rounding in float32 costs a KL per dimension about 0.002 nats, and it grows in proportion."""
LEAST_CONCENTRATION = 0.1
"""Of gamma variables, one draw in 6,000 is below 10⁻³⁸, the least of float32; at 0.02 it would be one in 6."""


def exp_within(x: Tensor, low: float, high: float) -> Tensor:
    """low + 1 / (e⁻ˣ + 1 / high): eˣ in between, smoothly bounded by low and low + high."""
    return low + high * torch.sigmoid(x - math.log(high))


def concentration(x: Tensor) -> Tensor:
    """A concentration of gamma, beta and Dirichlet distributions, eˣ within bounds."""
    return exp_within(x, LEAST_CONCENTRATION, MAX_CONCENTRATION)


def require_real(support: Support, what: str, instead: str) -> None:
    """Check that z is unconstrained.

    Args:
        support: Of z.
        what: That needs it.
        instead: What does not, for the message.

    Raises:
        ConfigError: z is constrained.
    """
    if support != "real":
        raise ConfigError(f"{what} needs latent variables of any sign, but this model's are {support}; use {instead}")

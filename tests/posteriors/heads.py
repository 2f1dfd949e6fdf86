"""Posterior heads with random weights, and features for them."""

from functools import partial

import torch
from torch import nn

from aevb import posteriors

HEADS = {
    "diagonal_gaussian": posteriors.DiagonalGaussian,
    "full_gaussian": posteriors.FullGaussian,
    "low_rank_gaussian": posteriors.LowRankGaussian,
    "laplace": posteriors.Laplace,
    "logistic": posteriors.Logistic,
    "iaf": partial(posteriors.InverseAutoregressiveFlow, hidden=[32], context=4),
    "spline": partial(posteriors.SplineFlow, hidden=[32], context=4),
}
FLOWS = ("iaf", "spline")


def make(name: str, latent_dim: int = 2, in_features: int = 5, scale: float = 0.3) -> posteriors.Posterior:
    """A head with random weights, in float64. The flows' networks too, so that they are not the identity."""
    torch.manual_seed(0)
    head = HEADS[name](in_features, latent_dim)
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=scale)
    return head.double()


def features(batch: int = 3, in_features: int = 5) -> torch.Tensor:
    return torch.randn(batch, in_features, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def grid(points: int = 401, bound: float = 12.0) -> torch.Tensor:
    axis = torch.linspace(-bound, bound, points, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis)

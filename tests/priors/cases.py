"""Priors with random weights, and a recognition model for those that need one."""

from functools import partial

import torch
from torch import nn

from aevb import priors
from aevb.networks import MLPEncoder
from aevb.posteriors import DiagonalGaussian
from aevb.vae import RecognitionModel

PRIORS = {
    "standard_normal": priors.StandardNormal,
    "laplace": priors.Laplace,
    "student_t": priors.StudentT,
    "mixture": priors.MixtureOfGaussians,
    "vamp": partial(priors.VampPrior, num_components=7),
    "flow": partial(priors.Flow, hidden=[16]),
}
DATA_SHAPE = (1, 4, 4)


def recognition(latent_dim: int = 2, head: type = DiagonalGaussian) -> RecognitionModel:
    encoder = MLPEncoder(DATA_SHAPE, hidden=[8])
    return RecognitionModel(DATA_SHAPE, encoder, head(8, latent_dim)).double()


def make(name: str, latent_dim: int = 2) -> priors.Prior:
    """A prior in float64; the flow with random weights, so that it is not the identity."""
    torch.manual_seed(0)
    prior = PRIORS[name](latent_dim)
    if name == "flow":
        for parameter in prior.parameters():
            nn.init.normal_(parameter, std=0.3)
    prior.connect(None, recognition(latent_dim))
    return prior.double()


def grid(points: int = 301, bound: float = 15.0) -> torch.Tensor:
    axis = torch.linspace(-bound, bound, points, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis)

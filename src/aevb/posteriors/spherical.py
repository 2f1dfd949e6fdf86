"""Posteriors on the sphere."""

import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution

from aevb.distributions.power_spherical import PowerSpherical as PowerSphericalDistribution
from aevb.distributions.support import exp_within
from aevb.posteriors.base import Posterior
from aevb.types import AtLeastTwo

MAX_CONCENTRATION, LEAST_CONCENTRATION = 1e4, 1e-2
"""Of κ: draws are within about √(2 (D − 1) / κ) of μ; below the least, q is nearly uniform."""


class PowerSpherical(Posterior):
    """q(z|x) ∝ (1 + μ(x)ᵀz)^κ(x) on the sphere of unit vectors z: the hyperspherical VAE.

    μ is the direction of what is linear in the encoder's features, log κ is linear in them, smoothly bounded:
    10⁻² < κ < 10⁴. D dimensions of z are D − 1 degrees of freedom.

    Sources: De Cao & Aziz (2020), arXiv 2006.04437; Davidson et al. (2018), Hyperspherical variational auto-encoders,
    arXiv 1804.00891, with the von Mises-Fisher distribution, whose draws need rejection.
    """

    support = "on the sphere"

    def __init__(self, in_features: int, latent_dim: AtLeastTwo) -> None:
        super().__init__(in_features, latent_dim, num_parameters=latent_dim + 1)

    def distribution(self, parameters: Tensor) -> Distribution:
        direction, log_concentration = parameters[..., :-1], parameters[..., -1]
        concentration = exp_within(log_concentration, LEAST_CONCENTRATION, MAX_CONCENTRATION)
        return PowerSphericalDistribution(F.normalize(direction, dim=-1), concentration)

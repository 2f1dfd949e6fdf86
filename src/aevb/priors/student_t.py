"""Student-t prior."""

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent
from torch.distributions import StudentT as StudentTDistribution

from aevb.priors.base import Prior
from aevb.types import Positive


class StudentT(Prior):
    """p(z) = Π_j t_ν(z_j / s) / s, with t_ν(y) ∝ (1 + y² / ν)^(−(ν + 1) / 2).

    Its heavy tails leave outlying data points their outlying codes. The variance is s² ν / (ν − 2) where ν > 2, else
    infinite; as ν grows it becomes N(0, s² I).

    Source: the authors' code of Kingma & Welling (2013).

    Shapes: batch (), event (latent_dim,).

    Args:
        latent_dim: Dimensions of z.
        df: ν, degrees of freedom.
        scale: s.

    Raises:
        ValueError: df or scale is not positive.
    """

    df: Tensor
    loc: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int, df: Positive = 5.0, scale: Positive = 1.0) -> None:
        super().__init__(latent_dim)
        self.register_buffer("df", torch.full((latent_dim,), float(df)), persistent=False)
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.full((latent_dim,), float(scale)), persistent=False)

    def forward(self) -> Distribution:
        one_dimensional = StudentTDistribution(self.df, self.loc, self.scale, validate_args=False)
        return Independent(one_dimensional, 1, validate_args=False)

"""Student's t-distribution, faster where all values share their degrees of freedom."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Gamma
from torch.distributions import StudentT as TorchStudentT


class StudentTDistribution(TorchStudentT):
    """torch's distribution, whose gamma functions are computed once for values that share ν, and of tensors only.

    torch's makes tensors of numbers in each step, which makes Python wait for the device.

    Args:
        df: ν, of any shape that `loc` and `scale` broadcast with.
        loc: The median.
        scale: Positive.
    """

    def __init__(self, df: Tensor, loc: Tensor, scale: Tensor) -> None:
        self.df, self.loc, self.scale = torch.broadcast_tensors(df, loc, scale)
        self._chi2 = Gamma(0.5 * self.df, torch.full_like(self.df, 0.5), validate_args=False)  # type: ignore[assignment]
        self.given_df = df
        Distribution.__init__(self, self.df.shape, validate_args=False)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> "StudentTDistribution":
        shape = torch.Size(batch_shape)
        return StudentTDistribution(self.given_df, self.loc.expand(shape), self.scale.expand(shape))

    def log_prob(self, value: Tensor) -> Tensor:
        df = self.given_df
        log_normalizer = torch.lgamma(0.5 * (df + 1)) - torch.lgamma(0.5 * df) - 0.5 * (math.pi * df).log()
        standard = (value - self.loc) / self.scale
        return log_normalizer - 0.5 * (df + 1) * (standard.square() / df).log1p() - self.scale.log()

"""Gaussian distributions: faster densities, a fitted variance, and full precision under autocast."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, LowRankMultivariateNormal, MultivariateNormal
from torch.distributions import LogNormal as TorchLogNormal
from torch.distributions import Normal as TorchNormal

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def diagonal_gaussian(mean: Tensor, log_variance: Tensor) -> Distribution:
    """N(μ, diag σ²) over the last dimension: μ, log σ² (..., D) → batch (...), event (D,)."""
    return Independent(Normal(mean, (0.5 * log_variance).exp(), validate_args=False), 1, validate_args=False)


class Unchecked(Distribution):
    """Samples as it does for gradients: `Normal.sample` looks at the scale, for which Python waits for the device."""

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            return self.rsample(torch.Size(sample_shape))


class Normal(Unchecked, TorchNormal):
    """torch's `Normal` that never waits for the device."""


class LogNormal(Unchecked, TorchLogNormal):
    """torch's `LogNormal` that never waits for the device."""


class GaussianDistribution(Normal):
    """`Normal` with a faster `log_prob`: fewer passes, and the scale is not expanded, so it may be one number."""

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        super().__init__(loc, scale, validate_args=False)
        self.given_scale = scale

    def log_prob(self, value: Tensor) -> Tensor:
        standard = (value - self.loc) / self.given_scale
        return torch.addcmul(-HALF_LOG_2PI - self.given_scale.log(), standard, standard, value=-0.5)


class CalibratedGaussianDistribution(GaussianDistribution):
    """A Gaussian whose `log_prob` takes the variance that `fit_variance` finds for the errors x − μ."""

    def __init__(self, loc: Tensor, scale: Tensor, fit_variance: Callable[[Tensor], Tensor]) -> None:
        super().__init__(loc, scale)
        self.fit_variance = fit_variance

    def log_prob(self, value: Tensor) -> Tensor:
        return GaussianDistribution(self.loc, self.fit_variance(value - self.loc).sqrt()).log_prob(value)


class CholeskyGaussian(MultivariateNormal):
    """`MultivariateNormal` that samples in full precision under autocast."""

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.autocast(self.loc.device.type, enabled=False):
            return super().rsample(torch.Size(sample_shape))


def unchecked_cholesky(matrix: Tensor) -> Tensor:
    """The lower Cholesky factor of matrices (..., D, D), NaN where one is not positive definite.

    `torch.linalg.cholesky` raises an error, for which Python waits for the device.
    """
    factor, failed = torch.linalg.cholesky_ex(matrix)
    return torch.where((failed == 0)[..., None, None], factor, torch.nan)


class LowRankPlusDiagonalGaussian(LowRankMultivariateNormal):
    """`LowRankMultivariateNormal` in full precision under autocast.

    torch's checks the factorization of I + Wᵀ D⁻¹ W, of covariance W Wᵀ + D, in each step, which makes Python wait for
    the device. Its eigenvalues are at least 1.

    Args:
        loc: (..., D).
        cov_factor: W (..., D, R).
        cov_diag: The diagonal of D, positive, (..., D).
    """

    def __init__(self, loc: Tensor, cov_factor: Tensor, cov_diag: Tensor) -> None:
        self.loc, self.cov_factor, self.cov_diag = loc, cov_factor, cov_diag
        self._unbroadcasted_cov_factor, self._unbroadcasted_cov_diag = cov_factor, cov_diag
        capacitance = (cov_factor.mT / cov_diag.unsqueeze(-2)) @ cov_factor
        identity = torch.eye(cov_factor.shape[-1], dtype=loc.dtype, device=loc.device)
        self._capacitance_tril = unchecked_cholesky(capacitance + identity)
        Distribution.__init__(self, loc.shape[:-1], loc.shape[-1:], validate_args=False)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> "LowRankPlusDiagonalGaussian":
        loc, factor = self.loc, self.cov_factor
        return LowRankPlusDiagonalGaussian(
            loc.expand(*batch_shape, *loc.shape[-1:]),
            factor.expand(*batch_shape, *factor.shape[-2:]),
            self.cov_diag.expand(*batch_shape, *loc.shape[-1:]),
        )

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.autocast(self.loc.device.type, enabled=False):
            return super().rsample(torch.Size(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        with torch.autocast(self.loc.device.type, enabled=False):
            return super().log_prob(value)

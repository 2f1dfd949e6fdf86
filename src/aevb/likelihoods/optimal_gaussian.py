"""The Gaussian likelihood of σ-VAE, whose variance is set analytically."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution

from aevb.likelihoods.gaussian import GaussianDistribution
from aevb.likelihoods.location_scale import Bounded, LocationScale
from aevb.types import Positive

MOMENTUM = 0.01
"""Weight of the newest minibatch in the running variance, once it is older than 1 / MOMENTUM minibatches."""


class OptimalGaussian(LocationScale):
    """p(x|z) = N(x; μ(z), σ² I), with the σ² that maximizes the likelihood of the minibatch: the mean squared error.

    **In training**, `log_prob(x)` uses σ*² = mean over samples, datapoints and values of (x − μ)², + min_scale². It
    is no density in x, as σ* depends on x: it is the maximum over σ. Summed over the minibatch, it equals
    −N D/2 (log 2π σ*² + 1) for N = S·B, and its gradient is the one at fixed σ*, since the derivative by σ vanishes at
    the maximum; σ* is therefore treated as a constant. With S samples of z, all share σ*, so that averages over S
    and importance weights remain those of one model. Training values are optimistic by this fit, noticeably so
    only for minibatches of few values.

    **In evaluation** (`eval()`), and for the mean, draws and pictures at any time, σ² is the running mean of σ*² over
    training minibatches, kept in the checkpoint: an ordinary density, and a valid bound. It follows every `log_prob`
    that is computed in training mode with gradients.

    A σ for each datapoint, or one fitted to the test data, is left out: neither is a density.

    Source: Rybkin, Daniilidis & Levine, Simple and effective VAE training with calibrated decoders (2021), section 4.

    Shapes: h (S, B, *in_shape) → batch (S, B), event `data_shape`.

    Args:
        bounded: See `LocationScale`.
        min_scale: Floor of σ.

    Raises:
        ValueError: min_scale is not positive, or bounded not auto, true or false.
    """

    variance: Tensor
    num_updates: Tensor

    def __init__(
        self, in_shape: Sequence[int], data_shape: Sequence[int], bounded: Bounded = "auto", min_scale: Positive = 1e-3
    ) -> None:
        super().__init__(in_shape, data_shape, 1, bounded)
        self.min_scale = min_scale
        self.register_buffer("variance", torch.ones(()))
        self.register_buffer("num_updates", torch.zeros((), dtype=torch.long))

    def distribution(self, mean: Tensor) -> Distribution:
        family = CalibratedGaussianDistribution if self.training else GaussianDistribution
        distribution = family(self.location(mean), self.variance.sqrt())
        if isinstance(distribution, CalibratedGaussianDistribution):
            distribution.head = self
        return distribution

    @torch.no_grad()
    def calibrate(self, error: Tensor, update: bool) -> Tensor:
        """σ*² of the errors x − μ, a scalar; adds it to the running mean if asked to."""
        variance = error.square().mean() + self.min_scale**2
        if update:
            self.num_updates += 1
            self.variance.lerp_(variance, torch.clamp(1 / self.num_updates, min=MOMENTUM))
        return variance


class CalibratedGaussianDistribution(GaussianDistribution):
    """The distribution in training: `log_prob` sets the variance first."""

    head: OptimalGaussian

    def log_prob(self, value: Tensor) -> Tensor:
        variance = self.head.calibrate(value - self.loc, update=torch.is_grad_enabled())
        return GaussianDistribution(self.loc, variance.sqrt()).log_prob(value)

"""Gaussian likelihoods, by where the variance comes from."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from aevb.likelihoods.location_scale import Bounded, LocationAndScale, LocationScale
from aevb.likelihoods.positive import MAX_SCALE, positive
from aevb.types import Positive

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Gaussian(LocationAndScale):
    """p(x|z) = N(x; μ(z), diag σ²(z)), with a variance for every value and input.

    The mean is linear in the features, or squashed into (0, 1) by a sigmoid where `bounded`. The log-variance is
    linear: σ² = exp f(z) + min_scale². A value that never varies in the data would drive its density to infinity; the
    floor prevents it, and leaves larger scales as they are.

    Source: Kingma & Welling (2013), appendix C.2; the sigmoid is its choice for Frey Face (section 5).

    Shapes: h (S, B, *in_shape) → batch (S, B), event `data_shape`.

    Args, Raises: as `LocationAndScale`.
    """

    def distribution(self, mean: Tensor, log_variance: Tensor) -> Distribution:
        return GaussianDistribution(self.location(mean), standard_deviation(log_variance, self.min_scale))


class GaussianPerValue(LocationScale):
    """p(x|z) = N(x; μ(z), diag σ²), with a learned variance for every value of x, the same for all inputs.

    σ² = exp(a parameter) + min_scale².

    Source: factor analysis with a nonlinear mean; the decoder without App. C.2's log-variance network.

    Shapes: h (S, B, *in_shape) → batch (S, B), event `data_shape`.

    Args:
        initial_scale: σ when training starts.
        bounded: See `LocationScale`.
        min_scale: Floor of σ.

    Raises:
        ValueError: a scale is not positive, or bounded not auto, true or false.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        data_shape: Sequence[int],
        initial_scale: Positive = 0.3,
        bounded: Bounded = "auto",
        min_scale: Positive = 1e-3,
    ) -> None:
        super().__init__(in_shape, data_shape, 1, bounded)
        self.min_scale = min_scale
        log_variance = 2 * math.log(initial_scale)
        self.log_variance = nn.Parameter(torch.full(self.variance_shape, log_variance))

    @property
    def variance_shape(self) -> tuple[int, ...]:
        """A parameter for every value."""
        return self.data_shape

    def distribution(self, mean: Tensor) -> Distribution:
        return GaussianDistribution(self.location(mean), standard_deviation(self.log_variance, self.min_scale))


class ScalarGaussian(GaussianPerValue):
    """p(x|z) = N(x; μ(z), σ² I), with one learned variance.

    σ² = exp(a parameter) + min_scale².

    Source: Rybkin, Daniilidis & Levine, Simple and effective VAE training with calibrated decoders (2021): the shared
    variance learned by gradient; Prince, Understanding Deep Learning (2023), chapter 17, with σ² learned.

    Shapes, Args, Raises: as `GaussianPerValue`.
    """

    @property
    def variance_shape(self) -> tuple[int, ...]:
        """One parameter."""
        return ()


class FixedGaussian(LocationScale):
    """p(x|z) = N(x; μ(z), σ² I), with a noise level σ that is not learned.

    Up to a constant it is the squared error over 2σ²: a smaller σ asks for better reconstructions at a larger KL.

    Source: Prince, Understanding Deep Learning (2023), chapter 17.

    Shapes: h (S, B, *in_shape) → batch (S, B), event `data_shape`.

    Args:
        sigma: σ, in units of the data.
        bounded: See `LocationScale`.

    Raises:
        ValueError: sigma is not positive, or bounded not auto, true or false.
    """

    sigma: Tensor

    def __init__(
        self, in_shape: Sequence[int], data_shape: Sequence[int], sigma: Positive = 0.1, bounded: Bounded = "auto"
    ) -> None:
        super().__init__(in_shape, data_shape, 1, bounded)
        self.register_buffer("sigma", torch.tensor(sigma), persistent=False)

    def distribution(self, mean: Tensor) -> Distribution:
        return GaussianDistribution(self.location(mean), self.sigma)


class GaussianDistribution(Normal):
    """`Normal` with a `log_prob` that takes fewer passes, and works on the scale as given, be it one number."""

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        super().__init__(loc, scale, validate_args=False)
        self.given_scale = scale

    def log_prob(self, value: Tensor) -> Tensor:
        standard = (value - self.loc) / self.given_scale
        return torch.addcmul(-HALF_LOG_2PI - self.given_scale.log(), standard, standard, value=-0.5)


def standard_deviation(log_variance: Tensor, min_scale: float) -> Tensor:
    """√(exp(log_variance) + min_scale²)."""
    return positive(log_variance, min_scale**2, MAX_SCALE**2).sqrt()

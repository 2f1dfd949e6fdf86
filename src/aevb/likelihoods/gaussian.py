"""Gaussian likelihoods, by where the variance comes from."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from aevb.collectives import means_over_processes
from aevb.distributions.gaussian import CalibratedGaussianDistribution, GaussianDistribution
from aevb.distributions.mixture import GaussianUniformDistribution
from aevb.likelihoods.base import MAX_SCALE, Likelihood, positive
from aevb.likelihoods.location_scale import Bounded, LocationAndScale, LocationScale
from aevb.types import Fraction, Positive

MOMENTUM = 0.01
"""Weight of the newest minibatch in `OptimalGaussian`'s running variance, after 1 / MOMENTUM minibatches."""


class Gaussian(LocationAndScale):
    """p(x|z) = N(x; μ(z), diag σ²(z)), with a variance for every value and input.

    The mean is linear in the features, or squashed into (0, 1) by a sigmoid where `bounded`. The log-variance is
    linear: σ² = exp f(z) + min_scale². A value that never varies in the data would drive its density to infinity; the
    floor prevents it, and leaves larger scales as they are.

    Source: Kingma & Welling (2013), appendix C.2; the sigmoid is its choice for Frey Face (section 5).

    Args: as `LocationAndScale`.
    """

    def distribution(self, mean: Tensor, log_variance: Tensor) -> Distribution:
        return GaussianDistribution(self.location(mean), standard_deviation(log_variance, self.min_scale))


class GaussianPerValue(LocationScale):
    """p(x|z) = N(x; μ(z), diag σ²), with a learned variance for every value of x, the same for all inputs.

    σ² = exp(a parameter) + min_scale².

    Source: factor analysis with a nonlinear mean; the decoder without App. C.2's log-variance network.

    Args:
        initial_scale: σ when training starts.
        bounded: See `LocationScale`.
        min_scale: Floor of σ.
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
        self.log_variance = nn.Parameter(torch.full(self.variance_shape, 2 * math.log(initial_scale)))

    @property
    def variance_shape(self) -> tuple[int, ...]:
        return self.data_shape

    def distribution(self, mean: Tensor) -> Distribution:
        return GaussianDistribution(self.location(mean), standard_deviation(self.log_variance, self.min_scale))


class ScalarGaussian(GaussianPerValue):
    """p(x|z) = N(x; μ(z), σ² I), with one learned variance.

    σ² = exp(a parameter) + min_scale².

    Source: Rybkin, Daniilidis & Levine, Simple and effective VAE training with calibrated decoders (2021): the shared
    variance learned by gradient; Prince, Understanding Deep Learning (2023), chapter 17, with σ² learned.

    Args: as `GaussianPerValue`.
    """

    @property
    def variance_shape(self) -> tuple[int, ...]:
        return ()


class FixedGaussian(LocationScale):
    """p(x|z) = N(x; μ(z), σ² I), with a noise level σ that is not learned.

    Up to a constant it is the squared error over 2σ²: a smaller σ asks for better reconstructions at a larger KL.

    Source: Prince, Understanding Deep Learning (2023), chapter 17.

    Args:
        sigma: σ, in units of the data.
        bounded: See `LocationScale`.
    """

    sigma: Tensor

    def __init__(
        self, in_shape: Sequence[int], data_shape: Sequence[int], sigma: Positive = 0.1, bounded: Bounded = "auto"
    ) -> None:
        super().__init__(in_shape, data_shape, 1, bounded)
        self.register_buffer("sigma", torch.tensor(float(sigma)), persistent=False)

    def distribution(self, mean: Tensor) -> Distribution:
        return GaussianDistribution(self.location(mean), self.sigma)


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

    Args:
        bounded: See `LocationScale`.
        min_scale: Floor of σ.
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
        location, scale = self.location(mean), self.variance.sqrt()
        if self.training:
            return CalibratedGaussianDistribution(location, scale, self.fit_variance)
        return GaussianDistribution(location, scale)

    def fit_variance(self, error: Tensor) -> Tensor:
        """σ*² of the errors x − μ, (); with gradients enabled it also updates the running mean."""
        variance = error.detach().square().mean() + self.min_scale**2
        if torch.is_grad_enabled():
            self.num_updates += 1
            (of_all,) = means_over_processes([variance])
            self.variance.lerp_(of_all, torch.clamp(1 / self.num_updates, min=MOMENTUM))
        return variance


class GaussianUniformMixture(Likelihood):
    """p(x|z) = Π_i [ w + (1 − w) N(x_i; μ_i, σ_i²) ] on [0, 1], μ = sigmoid(f₁(z)), σ² = exp f₂(z) + min_scale².

    The uniform explains a pixel that the network gets wrong, at a cost of at most −log w, so that single pixels cannot
    dominate. The Gaussian is not truncated: outside [0, 1] the density is its share alone. w is one number.

    Source: the pixel head of the authors' code that followed Kingma & Welling (2013), where a Gaussian whose mean is
    bounded is mixed with a uniform.

    Args:
        uniform_weight: w, at the start where it is learned.
        learn_uniform_weight: Learn w, as the sigmoid of a parameter.
        min_scale: Floor of σ.
    """

    support = constraints.unit_interval

    def __init__(
        self,
        in_shape: Sequence[int],
        data_shape: Sequence[int],
        uniform_weight: Fraction = 0.05,
        learn_uniform_weight: bool = True,
        min_scale: Positive = 1e-3,
    ) -> None:
        super().__init__(in_shape, data_shape, parameters_per_value=2)
        logit = torch.tensor(math.log(uniform_weight / (1 - uniform_weight)))
        self.weight_logit = nn.Parameter(logit, requires_grad=learn_uniform_weight)
        self.min_scale = min_scale

    def distribution(self, mean: Tensor, log_variance: Tensor) -> Distribution:
        scale = standard_deviation(log_variance, self.min_scale)
        return GaussianUniformDistribution(mean.sigmoid(), scale, self.weight_logit)


def standard_deviation(log_variance: Tensor, min_scale: float) -> Tensor:
    """√(exp(log_variance) + min_scale²)."""
    return positive(log_variance, min_scale**2, MAX_SCALE**2).sqrt()

"""Likelihoods of data on evenly spaced levels, such as grey values: categorical and discretized logistic."""

from collections.abc import Sequence

from torch import Tensor
from torch.distributions import Distribution

from aevb.distributions.levels import DiscretizedLogisticDistribution, LevelDistribution, Levels
from aevb.distributions.mixture import MixtureAlongAxis
from aevb.likelihoods.base import Likelihood, positive
from aevb.types import AtLeastTwo, Positive, Size


class Categorical(Likelihood):
    """P(x|z) = Π_i softmax(f_i(z))[k_i], k = (levels − 1) x: a free probability for every level of every value.

    It can have any shape, and knows nothing of the order of the levels. Its layer has `levels` outputs for every
    value: with 500 hidden units 100 million weights at 28×28 and 256 levels; a feature map needs far fewer.

    Source: van den Oord, Kalchbrenner & Kavukcuoglu, Pixel recurrent neural networks (2016), section 3.

    Args:
        levels: The data are multiples of 1 / (levels − 1) in [0, 1].
    """

    discrete = True

    def __init__(self, in_shape: Sequence[int], data_shape: Sequence[int], levels: AtLeastTwo = 256) -> None:
        super().__init__(in_shape, data_shape, parameters_per_value=levels)
        self.levels = levels
        self.support = Levels(levels)

    def project(self, h: Tensor) -> tuple[Tensor, ...]:
        """Logits of the levels: (S, B, levels, *data_shape)."""
        return (self.output(h),)

    def distribution(self, logits: Tensor) -> Distribution:
        return LevelDistribution(logits, axis=-1 - len(self.data_shape))


class DiscretizedLogistic(Likelihood):
    """P(x|z) = Π_i [ σ((x_i + δ − μ_i) / s_i) − σ((x_i − δ − μ_i) / s_i) ], δ half a level, σ the sigmoid.

    The bins of black and white take the tails: the first term is 1 at x = 1, the second 0 at x = 0. μ = f₁(z) is not
    bounded, so that all the mass may lie in either; s = min_scale + exp f₂(z).

    Source: Salimans, Karpathy, Chen & Kingma, PixelCNN++ (2017), section 2.1, with one component; Kingma et al.,
    Improved variational inference with inverse autoregressive flow (2016), appendix.

    Args:
        levels: The data are multiples of 1 / (levels − 1) in [0, 1].
        min_scale: Floor of s; at 1/1000 a level has a probability of at most 0.75, at the default of 0.96.
    """

    discrete = True

    def __init__(
        self, in_shape: Sequence[int], data_shape: Sequence[int], levels: AtLeastTwo = 256, min_scale: Positive = 5e-4
    ) -> None:
        super().__init__(in_shape, data_shape, parameters_per_value=2)
        self.levels = levels
        self.min_scale = min_scale
        self.support = Levels(levels)

    def distribution(self, location: Tensor, scale: Tensor) -> Distribution:
        return DiscretizedLogisticDistribution(location, positive(scale, self.min_scale), self.levels)


class DiscretizedLogisticMixture(Likelihood):
    """P(x|z) = Π_i Σ_k π_ik P(x_i; μ_ik, s_ik): K discretized logistics for every value, see `DiscretizedLogistic`.

    π = softmax f₁(z), μ = f₂(z), s = min_scale + exp f₃(z). Each colour channel has a mixture of its own, independent
    of the others given z; PixelCNN++'s means that depend on the other channels of the pixel are left out.

    Source: Salimans, Karpathy, Chen & Kingma, PixelCNN++ (2017), section 2.1.

    Args:
        num_components: K.
        levels: See `DiscretizedLogistic`.
        min_scale: See there.
    """

    discrete = True

    def __init__(
        self,
        in_shape: Sequence[int],
        data_shape: Sequence[int],
        num_components: Size = 5,
        levels: AtLeastTwo = 256,
        min_scale: Positive = 5e-4,
    ) -> None:
        super().__init__(in_shape, data_shape, parameters_per_value=3 * num_components)
        self.num_components = num_components
        self.levels = levels
        self.min_scale = min_scale
        self.support = Levels(levels)

    def project(self, h: Tensor) -> tuple[Tensor, ...]:
        """Logits of the weights, locations and log-scales: (S, B, K, *data_shape) each."""
        return self.output(h).unflatten(self.axis, (3, self.num_components)).unbind(self.axis - 1)

    @property
    def axis(self) -> int:
        """Where the components are, counted from the end."""
        return -1 - len(self.data_shape)

    def distribution(self, logits: Tensor, location: Tensor, scale: Tensor) -> Distribution:
        components = DiscretizedLogisticDistribution(location, positive(scale, self.min_scale), self.levels)
        return MixtureAlongAxis(logits, components, self.axis)

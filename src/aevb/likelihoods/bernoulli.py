"""Bernoulli and continuous Bernoulli likelihoods."""

from collections.abc import Sequence

from torch import Tensor
from torch.distributions import Distribution, constraints

from aevb.distributions.bernoulli import BernoulliDistribution, ContinuousBernoulliDistribution
from aevb.likelihoods.base import Likelihood


class Bernoulli(Likelihood):
    """log p(x|z) = Σ_i x_i log y_i + (1 − x_i) log(1 − y_i), y = sigmoid(f(z)).

    Real-valued x in [0, 1] is scored by the same formula, the paper's own practice for grey MNIST. It is then no
    normalized density in x: compare such values with each other only. For this reason the head does not count as
    discrete, and bits per dimension are not reported, not even of black-and-white data.

    Source: Kingma & Welling (2013), appendix C.1.
    """

    support = constraints.unit_interval

    def __init__(self, in_shape: Sequence[int], data_shape: Sequence[int]) -> None:
        super().__init__(in_shape, data_shape, parameters_per_value=1)

    def distribution(self, logits: Tensor) -> Distribution:
        return BernoulliDistribution(logits=logits, validate_args=False)


class ContinuousBernoulli(Likelihood):
    """log p(x|z) = Σ_i η_i x_i − log((e^η_i − 1) / η_i), η = f(z): the Bernoulli formula, normalized on [0, 1].

    Source: Loaiza-Ganem & Cunningham, The continuous Bernoulli: fixing a pervasive error in variational autoencoders
    (2019), eq. 6–8.
    """

    support = constraints.unit_interval

    def __init__(self, in_shape: Sequence[int], data_shape: Sequence[int]) -> None:
        super().__init__(in_shape, data_shape, parameters_per_value=1)

    def distribution(self, logits: Tensor) -> Distribution:
        return ContinuousBernoulliDistribution(logits=logits, validate_args=False)

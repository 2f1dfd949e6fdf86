"""Bernoulli likelihood."""

from collections.abc import Sequence

from torch import Tensor
from torch.distributions import Bernoulli as BernoulliDistribution
from torch.distributions import Distribution, constraints

from aevb.likelihoods.base import Likelihood


class Bernoulli(Likelihood):
    """log p(x|z) = Σ_i x_i log y_i + (1 − x_i) log(1 − y_i), y = sigmoid(f(z)).

    Real-valued x in [0, 1] is scored by the same formula, the paper's own practice for grey MNIST. It is then no
    normalized density in x: compare such values with each other only.

    Source: Kingma & Welling (2013), appendix C.1.

    Shapes: h (S, B, *in_shape) → batch (S, B), event `data_shape`.
    """

    support = constraints.unit_interval

    def __init__(self, in_shape: Sequence[int], data_shape: Sequence[int]) -> None:
        super().__init__(in_shape, data_shape, parameters_per_value=1)

    def distribution(self, logits: Tensor) -> Distribution:
        return BernoulliDistribution(logits=logits, validate_args=False)

"""Laplace, logistic and Student-t likelihoods, and the base classes of location-scale families."""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from annotated_types import Interval
from torch import Tensor, nn
from torch.distributions import Distribution, constraints
from torch.distributions import Laplace as LaplaceDistribution

from aevb.distributions.logistic import LogisticDistribution
from aevb.distributions.student_t import StudentTDistribution
from aevb.likelihoods.base import Likelihood, positive, shortest
from aevb.types import Positive

MAX_DEGREES_OF_FREEDOM = 1e3

Bounded = bool | Literal["auto"]


class LocationScale(Likelihood):
    """A head over the real numbers whose parameters are a location μ and mostly a scale.

    Args:
        bounded: Squash μ into (0, 1) by a sigmoid (True), or leave it linear in the features (False). `"auto"`: a
            sigmoid exactly where all training data lie in [0, 1]; linear until that is known, see `adapt_to`.
    """

    support = constraints.real

    def __init__(
        self, in_shape: Sequence[int], data_shape: Sequence[int], parameters_per_value: int, bounded: Bounded
    ) -> None:
        super().__init__(in_shape, data_shape, parameters_per_value)
        self.bounded = bounded

    def location(self, raw: Tensor) -> Tensor:
        """μ from the network's output."""
        return raw.sigmoid() if self.bounded is True else raw

    def adapt_to(self, lowest: float, highest: float) -> None:
        inside = lowest >= 0 and highest <= 1
        if self.bounded is True and not inside:
            raise ValueError(
                "model.likelihood.bounded=true keeps the location in (0, 1), but the training data have values from "
                f"{shortest(lowest)} to {shortest(highest)}; set it to auto or false, or rescale the data"
            )
        if self.bounded == "auto":
            self.bounded = inside

    def get_extra_state(self) -> Tensor:
        """Whether μ is squashed, stored with the weights; −1: not decided yet."""
        return torch.tensor(-1 if self.bounded == "auto" else int(self.bounded))

    def set_extra_state(self, state: Tensor) -> None:
        """Take over the decision of the loaded weights where `bounded` is auto."""
        if self.bounded == "auto" and int(state) >= 0:
            self.bounded = bool(state)


class LocationAndScale(LocationScale):
    """A head over the real numbers whose location and scale both come from the network, for every value and input.

    Args:
        bounded: See `LocationScale`.
        min_scale: Floor of the scale.
    """

    def __init__(
        self, in_shape: Sequence[int], data_shape: Sequence[int], bounded: Bounded = "auto", min_scale: Positive = 1e-3
    ) -> None:
        super().__init__(in_shape, data_shape, 2, bounded)
        self.min_scale = min_scale


class Laplace(LocationAndScale):
    """log p(x|z) = −Σ_i [ |x_i − μ_i| / b_i + log(2 b_i) ], μ = f₁(z) or its sigmoid, b = min_scale + exp f₂(z).

    Its tails are heavier than the Gaussian's, and μ is a median: outliers and sharp edges cost less.

    Source: the location-scale families of Kingma & Welling (2013), section 2.4, as a decoder.

    Args: as `LocationAndScale`.
    """

    def distribution(self, location: Tensor, scale: Tensor) -> Distribution:
        return LaplaceDistribution(self.location(location), positive(scale, self.min_scale), validate_args=False)


class Logistic(LocationAndScale):
    """log p(x|z) = Σ_i [ y_i − 2 softplus(y_i) − log s_i ], y = (x − μ) / s, μ = f₁(z) or its sigmoid,
    s = min_scale + exp f₂(z).

    Its standard deviation is π s / √3. The density of `DiscretizedLogistic` before it is put into bins.

    Source: the location-scale families of Kingma & Welling (2013), section 2.4, as a decoder.

    Args: as `LocationAndScale`.
    """

    def distribution(self, location: Tensor, scale: Tensor) -> Distribution:
        return LogisticDistribution(self.location(location), positive(scale, self.min_scale), validate_args=False)


class StudentT(LocationAndScale):
    """p(x|z) = Π_i t_ν((x_i − μ_i) / s_i) / s_i, μ = f₁(z) or its sigmoid, s = min_scale + exp f₂(z).

    log t_ν(y) = −(ν+1)/2 log(1 + y²/ν) + log Γ((ν+1)/2) − log Γ(ν/2) − ½ log(ν π). The degrees of freedom ν are one
    number for all values: the smaller, the heavier the tails; at ν → ∞ it is the Gaussian. ν stays between 1, where
    the mean would cease to exist, and 1000.

    Source: the location-scale families of Kingma & Welling (2013), section 2.4, as a decoder; Takahashi et al.,
    Student-t variational autoencoder for robust density estimation (2018).

    Args:
        degrees_of_freedom: ν, at the start where it is learned.
        learn_degrees_of_freedom: Learn ν, as 1 + exp of a parameter.
        bounded: See `LocationAndScale`.
        min_scale: See there.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        data_shape: Sequence[int],
        degrees_of_freedom: Annotated[float, Interval(gt=1, lt=MAX_DEGREES_OF_FREEDOM)] = 3.0,
        learn_degrees_of_freedom: bool = True,
        bounded: Bounded = "auto",
        min_scale: Positive = 1e-3,
    ) -> None:
        super().__init__(in_shape, data_shape, bounded, min_scale)
        start = torch.tensor(math.log(degrees_of_freedom - 1))
        self.log_degrees_above_one = nn.Parameter(start, requires_grad=learn_degrees_of_freedom)

    def distribution(self, location: Tensor, scale: Tensor) -> Distribution:
        degrees_of_freedom = positive(self.log_degrees_above_one, 1.0, MAX_DEGREES_OF_FREEDOM)
        return StudentTDistribution(degrees_of_freedom, self.location(location), positive(scale, self.min_scale))

"""Base class of likelihood heads p(x|z)."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, constraints

from aevb.inputs import require_finite
from aevb.networks import FullPrecision, Part

MAX_SCALE = 1e6
"""Upper limit of every scale, far above that of any data, so that no network output overflows."""


class Likelihood(Part, FullPrecision, ABC):
    """A head that turns the decoder's features into the distribution p(x|z).

    A subclass says how many parameters each value of x has, and builds the distribution from them. From a vector of
    features the parameters come by a linear layer, from a feature map of the image's size by a 1x1 convolution.

    Shapes: h (S, B, *in_shape) → batch (S, B), event `data_shape`. Log-densities are in nats per datapoint.

    Args:
        in_shape: Shape of the decoder's features: (features,) or (channels, H, W).
        data_shape: Shape (C, H, W) of one datapoint.
        parameters_per_value: Parameters that the network computes for each value of x.

    Raises:
        ValueError: a feature map whose size differs from the image's.
    """

    support: constraints.Constraint
    """Which values x may take, elementwise; the data are checked against it before training."""

    discrete: bool = False
    """Whether p(x|z) is a probability mass function, so that bits per dimension, −log₂ p(x) / D, are meaningful."""

    def __init__(self, in_shape: Sequence[int], data_shape: Sequence[int], parameters_per_value: int) -> None:
        super().__init__()
        self.data_shape = tuple(data_shape)
        self.parameters_per_value = parameters_per_value
        self.layer: nn.Linear | nn.Conv2d
        if len(in_shape) == 1:
            self.layer = nn.Linear(in_shape[0], parameters_per_value * math.prod(self.data_shape))
        elif tuple(in_shape[1:]) == self.data_shape[1:]:
            self.layer = nn.Conv2d(in_shape[0], parameters_per_value * self.data_shape[0], kernel_size=1)
        else:
            raise ValueError(f"decoder gives features of shape {tuple(in_shape)} for data of shape {self.data_shape}")

    def project(self, h: Tensor) -> tuple[Tensor, ...]:
        """The parameters of every value of x, before any squashing: a tensor (S, B, *data_shape) each."""
        dim = -1 - len(self.data_shape)
        parameters = self.output(h)
        # One parameter is a view; the gradients of several are copied together.
        return (parameters.squeeze(dim),) if self.parameters_per_value == 1 else parameters.unbind(dim)

    def output(self, h: Tensor) -> Tensor:
        """All parameters in one tensor (S, B, parameters_per_value, *data_shape), in float32 at least.

        Under mixed precision the networks work in 16 bits; densities need more, so every head computes in float32.
        """
        h = h.to(self.layer.weight.dtype)
        if isinstance(self.layer, nn.Conv2d):
            maps = self.layer(h.flatten(0, -4))
            raw = maps.view(*h.shape[:-3], self.parameters_per_value, *self.data_shape)
        else:
            raw = self.layer(h).unflatten(-1, (self.parameters_per_value, *self.data_shape))
        return raw if raw.itemsize >= 4 else raw.float()

    def forward(self, h: Tensor) -> Distribution:
        """p(x|z) for features h: batch (S, B), event `data_shape`."""
        distribution = self.distribution(*self.project(h))
        independent_dims = len(self.data_shape) - len(distribution.event_shape)
        joint = Independent(distribution, independent_dims, validate_args=False)
        if joint.event_shape != self.data_shape:  # log_prob would broadcast, and give the density of something else
            raise ValueError(
                f"likelihood {type(self).__name__} must give a distribution of the values of x, {self.data_shape}, "
                f"after the axes (S, B); its last axes are {tuple(joint.event_shape)}"
            )
        return joint

    @abstractmethod
    def distribution(self, *parameters: Any, **_: Any) -> Distribution:  # any arguments: a subclass names its own
        """The distribution of every value of x, given what `project` returns; or of x as a whole."""

    def check(self, x: Tensor) -> None:
        """Check that every value of the data is in the support.

        Raises:
            ValueError: a value of x is not finite, or lies outside the support; or there is none.
        """
        require_finite(x, "x")
        if not hasattr(self, "support"):
            raise ValueError(
                f"likelihood {type(self).__name__} must say which values of x it scores: support = constraints.real, "
                "or another of torch.distributions.constraints"
            )
        inside = torch.as_tensor(self.support.check(x))
        if not bool(inside.all()):
            wrong, lowest, highest = (shortest(float(value)) for value in (x[~inside][0], x.min(), x.max()))
            raise ValueError(
                f"likelihood {type(self).__name__} needs data in {describe(self.support)}, got {wrong} among values "
                f"from {lowest} to {highest}; choose another likelihood, or rescale or binarize the data"
            )

    values_per_step: int | None = None
    """Values of x at one step of a sequence; None: x is no sequence."""

    def num_values(self, count: int, c: Tensor | None = None) -> Tensor | int:
        """The number of values in `count` datapoints with the condition c."""
        return count * math.prod(self.data_shape)

    def adapt_to(self, lowest: float, highest: float) -> None:
        """Fix settings that depend on the range of the training data; called before training.

        Raises:
            ValueError: a setting does not suit the data.
        """


def positive(raw: Tensor, floor: float, ceiling: float = MAX_SCALE) -> Tensor:
    """floor + exp(raw), with the exponential cut off at `ceiling`: finite and positive for every finite `raw`.

    The floor is smooth: log(floor + exp(raw)) = log floor + softplus(raw − log floor), which leaves values well above
    the floor as they are, and its gradient never jumps.
    """
    return torch.exp(raw.clamp(max=math.log(ceiling))) + floor


def shortest(value: float) -> str:
    """A number with as many digits as tell it from every other float32: 1.0000001, not 1."""
    return str(np.float32(value)).removesuffix(".0")


def describe(constraint: constraints.Constraint) -> str:
    """A constraint in words: [0, 1], whole numbers from 0 and so on."""
    lower, upper = getattr(constraint, "lower_bound", None), getattr(constraint, "upper_bound", None)
    if lower is None and upper is None:
        return "the real numbers" if constraint is constraints.real else str(constraint)
    if constraint.is_discrete:
        return f"{{{lower}, …, {upper}}}" if upper is not None else f"whole numbers from {lower}"
    if upper is None:
        return f"the real numbers from {lower:g}"
    return f"[{lower:g}, {upper:g}]"

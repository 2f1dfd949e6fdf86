"""Moments of distributions, where torch knows them."""

from typing import Literal

from torch import Tensor
from torch.distributions import Distribution


def closed_moment(distribution: Distribution, name: Literal["mean", "variance"]) -> Tensor | None:
    """The mean or the variance of each dimension; None where it has no closed form.

    torch.distributions says so by an exception.
    """
    try:
        moment: Tensor = getattr(distribution, name)
    except (NotImplementedError, AttributeError):
        return None
    return moment

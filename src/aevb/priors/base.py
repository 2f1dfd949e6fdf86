"""Base class of priors p(z)."""

from abc import ABC, abstractmethod
from typing import Any

from torch.distributions import Distribution

from aevb.distributions.support import Support
from aevb.networks import FullPrecision, Part


class Prior(Part, FullPrecision, ABC):
    """A module whose `forward()` gives the distribution p(z).

    Shapes: batch (), event (latent_dim,).

    Args:
        latent_dim: Dimensions of z.
    """

    support: Support = "real"
    """Of z; the posterior's must be the same."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim

    def connect(self, p: Any, q: Any) -> None:
        """Check that the posterior has the same support.

        Raises:
            ValueError: it has another.
        """
        if q.head.support != self.support:
            raise ValueError(
                f"z is {self.support} under prior {type(self).__name__}, but {q.head.support} under posterior "
                f"{type(q.head).__name__}; choose two of the same support"
            )

    @abstractmethod
    def forward(self) -> Distribution:
        """p(z)."""

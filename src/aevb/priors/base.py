"""Base class of priors p(z)."""

from abc import ABC, abstractmethod
from typing import Any

from torch.distributions import Distribution

from aevb.networks import FullPrecision
from aevb.types import Checked


class Prior(Checked, FullPrecision, ABC):
    """A module whose `forward()` gives the distribution p(z).

    Shapes: batch (), event (latent_dim,).

    Args:
        latent_dim: Dimensions of z.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim

    def connect(self, p: Any, q: Any) -> None:
        """Called once with the model, before the optimizer is made; for priors that are defined through q."""

    @abstractmethod
    def forward(self) -> Distribution:
        """p(z)."""

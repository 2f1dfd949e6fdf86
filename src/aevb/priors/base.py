"""Base class of priors p(z)."""

from abc import ABC, abstractmethod

from torch.distributions import Distribution

from aevb.networks import FullPrecision, Part


class Prior(Part, FullPrecision, ABC):
    """A module whose `forward()` gives the distribution p(z).

    Shapes: batch (), event (latent_dim,).

    Args:
        latent_dim: Dimensions of z.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim

    @abstractmethod
    def forward(self) -> Distribution:
        """p(z)."""

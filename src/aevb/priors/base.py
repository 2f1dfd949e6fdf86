"""What every prior p(z) has in common."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import nn
from torch.distributions import Distribution

if TYPE_CHECKING:
    from aevb.vae import RecognitionModel


class Prior(nn.Module, ABC):
    """A module whose `forward()` gives the distribution p(z).

    Shapes: batch (), event (latent_dim,).

    Args:
        latent_dim: Dimensions of z.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim

    def connect(self, recognition: "RecognitionModel") -> None:
        """Called once with q when the model is built, for priors that are defined through it (VampPrior)."""

    @abstractmethod
    def forward(self) -> Distribution:
        """p(z)."""

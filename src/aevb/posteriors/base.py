"""What every posterior head q(z|x) has in common."""

from abc import ABC, abstractmethod

from torch import Tensor, nn
from torch.distributions import Distribution


class Posterior(nn.Module, ABC):
    """A head that turns the encoder's features into the variational distribution q(z|x).

    Its distribution has `rsample` (reparameterized, section 2.4 of the paper) and `log_prob`.

    Shapes: h (B, in_features) → batch (B,), event (latent_dim,).

    Args:
        in_features: Size of the encoder's feature vector.
        latent_dim: Dimensions of z.
    """

    def __init__(self, in_features: int, latent_dim: int) -> None:
        super().__init__()
        self.in_features = in_features
        self.latent_dim = latent_dim

    @abstractmethod
    def forward(self, h: Tensor) -> Distribution:
        """q(z|x) for features h (B, in_features)."""

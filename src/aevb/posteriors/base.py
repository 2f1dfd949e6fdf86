"""Base classes of posterior heads q(z|x)."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from aevb.distributions.support import Support
from aevb.networks import FullPrecision, Part


class RecognitionHead(Part, FullPrecision, ABC):
    """A head that turns the encoder's features into the variational distribution q(z|x).

    The distribution has `rsample` (reparameterized, section 2.4 of the paper) and `log_prob`.

    Shapes: h (B, in_features) → batch (B,), event (latent_dim,).

    Args:
        in_features: Size of the encoder's feature vector.
        latent_dim: Dimensions of z.
    """

    support: Support = "real"
    """Of z; the prior's must be the same."""

    def __init__(self, in_features: int, latent_dim: int) -> None:
        super().__init__()
        self.in_features, self.latent_dim = in_features, latent_dim

    @abstractmethod
    def forward(self, h: Tensor) -> Distribution:
        """q(z|x) for features h (B, in_features)."""

    def auxiliary_loss(self, posterior: Distribution) -> Tensor | None:
        """What a training step adds to −ELBO for this head, (B,), which is no part of the bound; None: nothing.

        Called once in a training step, after the ELBO, with the q(z|x) of the minibatch, by objectives that have
        `auxiliary_losses`; the head may also update averages of what it has seen.
        """
        return None


class Posterior(RecognitionHead):
    """A head whose parameters are linear in the features.

    A subclass says how many parameters there are, and builds the distribution from them.

    Under mixed precision the parameters are raised to float32, and distributions compute in it: densities, Cholesky
    factors and inverses of flows need it.

    Args:
        num_parameters: Parameters of the distribution of one datapoint.
    """

    def __init__(self, in_features: int, latent_dim: int, num_parameters: int) -> None:
        super().__init__(in_features, latent_dim)
        self.layer = nn.Linear(in_features, num_parameters)

    def forward(self, h: Tensor) -> Distribution:
        parameters = self.layer(h.to(self.layer.weight.dtype))
        with torch.autocast(parameters.device.type, enabled=False):
            return self.distribution(parameters.to(torch.promote_types(parameters.dtype, torch.float32)))

    @abstractmethod
    def distribution(self, parameters: Tensor) -> Distribution:
        """The distribution with the given parameters (B, num_parameters)."""

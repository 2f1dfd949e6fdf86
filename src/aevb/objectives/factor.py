"""FactorVAE: the total correlation of the aggregate posterior by a discriminator."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution

from aevb.distributions.kl import KLEstimator
from aevb.distributions.sequence import Steps
from aevb.networks import MLP
from aevb.objectives.base import frozen, surrogate
from aevb.objectives.regularized import Penalty, Regularized
from aevb.types import Count, NonNegative, Size
from aevb.vae import GenerativeModel, RecognitionModel


class FactorVAE(Regularized):
    """The loss −ELBO + γ TC, with the total correlation TC = E_q(z)[log q(z) − log Π_j q(z_j)] by a density ratio.

    A discriminator D(z), the logit of the probability that z is from q(z) rather than from Π_j q(z_j), estimates TC as
    the mean of D over draws z ~ q(z|x_n) of the minibatch: the best D is the logarithm of the ratio. D itself minimises

        ½ E_q(z)[log(1 + e^−D(z))] + ½ E_Πq(z_j)[log(1 + e^D(z))],

    whose second expectation is over the same draws with each dimension permuted over the minibatch. In the source the
    two updates alternate, each by an optimizer of its own; here one backward pass has both gradients, that of TC with D
    fixed and that of D with z fixed, and the optimizer of the model takes both steps. Its state holds that of D, so a
    checkpoint has all of it. The value of the loss is that for the model. With γ = 0 it is `SGVB`, without a
    discriminator.

    Source: Kim & Mnih (2018), eq. 2 and 3 and algorithm 2.

    Args:
        num_samples: L, samples of z per datapoint.
        kl: As of `SGVB`.
        gamma: γ, the weight of the total correlation.
        discriminator_layers: Hidden layers of D, with leaky rectifiers; 6 in the source.
        discriminator_units: Units of each; 1,000 in the source.
        weight_prior: See `Objective`.

    Logged in addition: `total_correlation`, the estimate of TC in nats, and `discriminator_loss`, what D minimises:
    log 2 where it cannot tell the two apart.
    """

    def __init__(
        self,
        num_samples: Size = 1,
        kl: KLEstimator = "auto",
        gamma: NonNegative = 10.0,
        discriminator_layers: Count = 3,
        discriminator_units: Size = 200,
        weight_prior: bool = True,
    ) -> None:
        super().__init__(num_samples, kl, weight_prior)
        self.gamma = gamma
        self.discriminator_layers = discriminator_layers
        self.discriminator_units = discriminator_units
        self.discriminator: nn.Module | None = None

    def connect(self, p: GenerativeModel, q: RecognitionModel) -> None:
        """Make the discriminator."""
        if self.gamma:
            hidden = MLP((p.latent_dim,), [self.discriminator_units] * self.discriminator_layers, "leaky_relu")
            self.discriminator = nn.Sequential(hidden, nn.Linear(self.discriminator_units, 1), nn.Flatten(0))

    def penalty(self, posterior: Distribution, prior: Distribution, z: Tensor, kl: Tensor) -> Penalty:
        if not self.gamma:  # without a permutation, so that the random numbers are those of SGVB
            return kl.new_zeros(()), {}
        if isinstance(posterior, Steps):
            raise ValueError(
                "objective=factor needs latent variables of one length, and those of sequences have several"
            )
        if self.discriminator is None:
            raise RuntimeError("objective FactorVAE needs objective.connect(p, q) first")
        codes = z.flatten(0, -2)
        with frozen(self.discriminator):
            total_correlation = self.discriminator(codes).mean()
        codes = codes.detach()
        joint, product = self.discriminator(codes), self.discriminator(permuted(codes))
        discriminator_loss = 0.5 * (F.softplus(-joint) + F.softplus(product)).mean()
        penalty = self.gamma * total_correlation
        terms = {"total_correlation": total_correlation, "discriminator_loss": discriminator_loss}
        return surrogate(penalty, gradient_of=penalty + discriminator_loss), terms


def permuted(codes: Tensor) -> Tensor:
    """Codes (N, D) with each dimension in an order of its own: draws of Π_j q(z_j)."""
    return codes.gather(0, torch.rand_like(codes).argsort(0))

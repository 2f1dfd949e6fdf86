"""The wake-sleep algorithm."""

import torch
from torch import Tensor

from aevb.distributions.kl import sample_and_kl
from aevb.objectives.base import Estimate, Objective, frozen
from aevb.types import Size
from aevb.vae import GenerativeModel, RecognitionModel


class WakeSleep(Objective):
    """Wake-sleep with the recognition model of the other objectives, as in section 5 of the paper.

    - Wake: z ~ q(z|x) for the data x; θ follows ∇_θ log p(x, z), which is the gradient of the ELBO.
    - Sleep: dreams z, x ~ p(x, z); φ follows ∇_φ log q(z|x), which lowers KL(p(z|x) ‖ q(z|x)) on the dreams rather than
      the KL of the ELBO. Together the two are not the gradient of any one function.

    Each phase trains its own model only: where the prior is defined by q (`VampPrior`), the wake phase trains the
    pseudo-inputs, which belong to θ, but not φ; where q shares the prior's network (`TopDown`), the sleep phase does
    not train that.

    Both are in one loss, −log p(x, z) of the data − log q(z|x) of the dreams. No gradient passes through a draw, so q
    and p need only densities and samples.

    Source: Hinton, Dayan, Frey & Neal (1995).

    Args:
        num_samples: Draws of z per datapoint in the wake phase, and dreams per datapoint in the sleep phase.
        weight_prior: See `Objective`.

    Logged in addition: `sleep`, log q(z|x) of the dreams. `elbo` is the true ELBO.
    """

    def __init__(self, num_samples: Size = 1, weight_prior: bool = True) -> None:
        super().__init__(weight_prior)
        self.num_samples = num_samples

    def estimate(self, p: GenerativeModel, q: RecognitionModel, x: Tensor) -> Estimate:
        with frozen(q):  # a prior may be defined by q
            prior = p.prior()
            with torch.no_grad():
                z, kl = sample_and_kl(q(x), prior, self.num_samples)
            log_likelihood = p.likelihood(z).log_prob(x)
            wake = log_likelihood + prior.log_prob(z)
        sleep = self.dream(p, q, len(x))
        log_likelihood = log_likelihood.detach().mean(0)
        return Estimate(
            -wake.mean() - sleep.mean(), log_likelihood - kl, log_likelihood, kl, {"sleep": sleep.detach().mean()}
        )

    def dream(self, p: GenerativeModel, q: RecognitionModel, count: int) -> Tensor:
        """log q(z|x) of dreams z, x ~ p(x, z), with a gradient for φ only: (num_samples × count,)."""
        with torch.no_grad():
            z = p.sample_prior(self.num_samples, count)
            x = p.likelihood(z).sample()
        with frozen(p):  # q may share layers with the prior
            return torch.cat([q(dream).log_prob(latent) for dream, latent in zip(x, z, strict=True)])

"""A Markov chain over images whose pixels are partly missing or wrong."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from aevb.distributions.kl import rsample_and_log_prob
from aevb.vae import VAE


class Restored(NamedTuple):
    """Images after a step of the chain: a draw, and its expected value given z; (B, *data_shape) each."""

    x: Tensor
    mean: Tensor


Observation = Callable[[Distribution], Restored]
"""p(x|z) with batch (1, B) → images from p(x|z, observation)."""


class KnownPixels:
    """Some pixels are observed, the others are missing.

    Args:
        x: Images (B, *data_shape), with any value for missing pixels.
        observed: Booleans of the same shape.
    """

    def __init__(self, x: Tensor, observed: Tensor) -> None:
        self.x, self.observed = x, observed

    def __call__(self, likelihood: Distribution) -> Restored:
        require_product(likelihood)
        draw, mean = likelihood.sample()[0], likelihood.mean[0]
        return Restored(torch.where(self.observed, self.x, draw), torch.where(self.observed, self.x, mean))


class NoisyPixels:
    """Each pixel is replaced by noise with a known probability; which ones is unknown.

    Given z, a pixel is original with probability (1 − r) p(x̃|z) / [(1 − r) p(x̃|z) + r u], where r is the share of
    noise and u its density. This needs a p(x|z) that is a product over the values of x.

    Args:
        x: Noisy images x̃ (B, *data_shape).
        share: r.
        noise_density: u, or the probability of each level where x is discrete.
    """

    def __init__(self, x: Tensor, share: float, noise_density: float) -> None:
        self.x, self.share, self.noise_density = x, share, noise_density

    def __call__(self, likelihood: Distribution) -> Restored:
        density = (1 - self.share) * require_product(likelihood).log_prob(self.x)[0].exp()
        kept_probability = (density / (density + self.share * self.noise_density)).nan_to_num(1.0)
        kept = torch.rand_like(kept_probability) < kept_probability
        mean = torch.lerp(likelihood.mean[0], self.x, kept_probability)
        return Restored(torch.where(kept, self.x, likelihood.sample()[0]), mean)


def require_product(likelihood: Distribution) -> Distribution:
    """The distribution of each value of x, where they are independent given z.

    Raises:
        ValueError: they are not.
    """
    if not isinstance(likelihood, Independent) or likelihood.base_dist.event_shape:
        raise ValueError("images are restored by a likelihood that is a product over the values of x, this one is not")
    return likelihood.base_dist


@torch.no_grad()
def restore(vae: VAE, x: Tensor, observation: Observation, burn_in: int, num_steps: int) -> tuple[Tensor, Tensor]:
    """E[x | observation] by a chain that alternately draws z given x, and x given z and the observation.

    z' ~ q(z|x) is accepted with probability min(1, p(x, z') q(z|x) / (p(x, z) q(z'|x))), otherwise z is kept, so the
    chain has the invariant distribution p(x, z | observation) for any q. The chain of Rezende et al. accepts every z',
    which is correct only for q(z|x) = p(z|x): for images unlike the training data, an encoder may give a z far out,
    whose image is even less likely, and the chain does not return.

    Source: Rezende et al. (2014), appendix F; Mattei & Frellsen, Leveraging the exact likelihood of deep latent
    variable models (2018), algorithm 2.

    Args:
        vae: The model.
        x: Initial images, (B, *data_shape).
        observation: See `KnownPixels` and `NoisyPixels`.
        burn_in: Discarded steps.
        num_steps: Averaged steps.

    Returns:
        The mean (B, *data_shape), and the mean acceptance probability (B,).
    """
    p, q = vae.p, vae.q
    one = torch.Size((1,))
    z, mean, acceptance = q(x).sample(one), torch.zeros_like(x), torch.zeros_like(x.flatten(1)[:, 0])
    for step in range(burn_in + num_steps):
        x, expected = observation(p.likelihood(z))
        posterior = q(x)
        proposal, log_q = rsample_and_log_prob(posterior, one)
        log_weight = p.log_joint(x, z) - posterior.log_prob(z)
        probability = (p.log_joint(x, proposal) - log_q - log_weight).clamp(max=0).exp().nan_to_num(0)
        z = torch.where((torch.rand_like(probability) < probability).unsqueeze(-1), proposal, z)
        if step >= burn_in:
            mean += expected / num_steps
            acceptance += probability[0] / num_steps
    return mean, acceptance

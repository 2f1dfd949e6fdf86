"""The likelihood of a sequence by sequential Monte Carlo."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self, cast

import torch
from torch import Tensor

from aevb.distributions.sequence import Steps
from aevb.estimators.base import Estimates, Estimator, low_effective_sample_size
from aevb.inference.importance_weights import LogWeights
from aevb.likelihoods.sequence import OverSteps
from aevb.networks import EachStep
from aevb.types import AtLeastTwo, Count
from aevb.vae import VAE


class Particles(NamedTuple):
    """K weighted draws of z_t given x_{1:t}."""

    z: Tensor
    """z_t, (K, B, 1, d)."""
    state: Any
    """Of the likelihood, after step t: (1, K · B, width), or None."""
    log_weights: Tensor
    """(K, B)."""

    def drawn_by_weight(self, count: int, where: Tensor | None = None) -> Self:
        """`count` particles of equal weight; with count = K, of datapoints `where` (B,) alone, others as they are."""
        chosen = systematic(self.log_weights, count)
        log_weights = self.log_weights.new_zeros(chosen.shape)
        if where is not None:
            same = torch.arange(count, device=chosen.device).unsqueeze(-1)
            chosen, log_weights = torch.where(where, chosen, same), torch.where(where, log_weights, self.log_weights)

        def take(values: Tensor) -> Tensor:
            index = chosen.view(*chosen.shape, *(1 for _ in values.shape[2:]))
            return values.gather(0, index.expand(*chosen.shape, *values.shape[2:]))

        state = self.state
        if state is not None:
            state = take(state.view(*self.z.shape[:2], -1)).flatten(0, 1).unsqueeze(0)
        return type(self)(take(self.z), state, log_weights)


@dataclass(frozen=True)
class ParticleFilter(Estimator):
    """log p̂(x), p̂(x) = Π_t 1/K Σ_k w_tk, w_tk = p(z_tk|z_{t−1}) p(x_t|x_<t, z_≤t) / q(z_tk|z_{t−1}, x), resampled.

    p̂(x) is unbiased, so the value is in expectation a lower bound. The relative variance of importance weights of whole
    sequences grows exponentially with the length, that of p̂(x) linearly: particles are drawn anew by their weights
    (systematic resampling) where the effective sample size falls below K / 2.

    Sources: Gordon, Salmond & Smith (1993); Maddison et al., Filtering variational objectives (2017), arXiv 1705.09279.

    Args:
        num_particles: K.
        num_filters: Independent filters whose p̂(x) are averaged; their spread gives the standard error.
    """

    name: ClassVar[str] = "particle_filter"

    num_particles: Count = 250
    num_filters: AtLeastTwo = 4

    @property
    def rows_per_datapoint(self) -> int:
        return self.num_particles

    @torch.inference_mode()
    def estimate(self, vae: VAE, x: Tensor, rows: int) -> Estimates:
        found, sizes = LogWeights(), []
        for _ in range(self.num_filters):
            log_likelihood, effective, _ = filtered(vae, x, self.num_particles)
            found.add(log_likelihood.unsqueeze(0))
            sizes.append(effective)
        size = torch.stack(sizes).mean(0).double()
        return Estimates(found.log_mean, found.variance, {"effective_sample_size": size})

    def warnings(self, found: Estimates) -> list[str]:
        return low_effective_sample_size(found, 10, f"the value may be too low: raise {self.key('num_particles')}")


def filtered(vae: VAE, x: Tensor, num_particles: int, until: int | None = None) -> tuple[Tensor, Tensor, Particles]:
    """Filter the first `until` steps (all: None) of sequences x (B, T, *step_shape), by draws of q(z_t | z_{t−1}, x).

    Returns:
        log p̂ of these steps in nats, (B,); the mean over them of the effective sample size, (B,); the particles after
        the last.

    Raises:
        ValueError: the model is none of sequences.
    """
    q, p, head, decoder = vae.q(x), vae.p.prior(), vae.p.head, vae.p.decoder
    if not (isinstance(q, Steps) and isinstance(p, Steps) and isinstance(head, OverSteps)):
        raise ValueError("a particle filter needs a model of sequences, such as model=deep_markov or model=storn")
    exists = torch.ones_like(x.flatten(2)[..., 0], dtype=torch.bool) if q.exists is None else q.exists
    log_weights, shape = x.new_zeros(num_particles, len(x)), (num_particles, len(x), 1)
    z_q, z_p, x_before, state = q.start, p.start, torch.zeros_like(x[:, :1]), None
    log_likelihood, sizes = x.new_zeros(len(x)), []
    for step in range(q.steps if until is None else until):
        q_t, p_t = (each.step(z.expand(*shape, *z.shape[-1:]), step)[0] for each, z in ((q, z_q), (p, z_p)))
        z = q_t.expand(torch.Size(shape)).sample()
        x_t = x[:, step : step + 1]
        likelihood, state = head.steps(cast(EachStep, decoder).decoder(z), x_before, state)
        log_ratio = p_t.log_prob(z) - q_t.log_prob(z) + likelihood.log_prob(x_t)
        log_weights = log_weights + torch.where(exists[:, step], log_ratio.squeeze(-1), 0.0)
        size = effective_sample_size(log_weights)
        sizes.append(size)
        poor = (size < num_particles / 2) & exists[:, step]
        log_likelihood = log_likelihood + torch.where(poor, log_mean(log_weights), 0.0)
        particles = Particles(z, state, log_weights).drawn_by_weight(num_particles, where=poor)
        (z, state, log_weights), x_before = particles, x_t
        z_q = z_p = z
    exists = exists[:, : len(sizes)]
    sizes_of_steps = torch.where(exists.T, torch.stack(sizes), 0.0).sum(0) / exists.sum(1)
    return log_likelihood + log_mean(log_weights), sizes_of_steps, particles


def log_mean(log_weights: Tensor) -> Tensor:
    """log 1/K Σ_k w_k, (K, B) → (B,)."""
    return log_weights.logsumexp(0) - math.log(len(log_weights))


def effective_sample_size(log_weights: Tensor) -> Tensor:
    """(Σ_k w_k)² / Σ_k w_k², (K, B) → (B,)."""
    return (2 * log_weights.logsumexp(0) - (2 * log_weights).logsumexp(0)).exp()


def systematic(log_weights: Tensor, count: int) -> Tensor:
    """Indices (count, B) of particles drawn by their weights (K, B), by one uniform number for each datapoint."""
    cumulative = log_weights.softmax(0).cumsum(0).T.contiguous()
    at = (torch.arange(count, device=log_weights.device) + torch.rand(len(cumulative), 1).to(cumulative)) / count
    return torch.searchsorted(cumulative, at).clamp(max=len(log_weights) - 1).T

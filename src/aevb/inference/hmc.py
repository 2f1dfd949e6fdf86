"""Hamiltonian Monte Carlo for many chains at once.

Chains are batched over samples and datapoints: z (S, B, D), log-density (S, B). Gradients are for z only: the
`grad` of the density's weights does not change. Both functions work under `torch.no_grad()`. Under
`torch.inference_mode()`, tensors that the density uses must have been made outside it, or cloned outside it.

Sources: Duane et al. (1987); Neal, MCMC using Hamiltonian dynamics (2011).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from aevb.distributions.gaussian import unchecked_cholesky

LogDensity = Callable[[Tensor], Tensor]
"""z (S, B, D) → log-density in nats, up to a constant, (S, B)."""

JITTER = 0.1
"""Relative jitter of the step size. Without it, trajectories can have the period of the target and never mix."""

ADAPTATION_RATE = 0.5


class Chains(NamedTuple):
    """State of a batch of chains.

    Attributes:
        z: Positions (S, B, D).
        log_density: At z, (S, B).
        gradient: ∇_z of the log-density at z, (S, B, D).
    """

    z: Tensor
    log_density: Tensor
    gradient: Tensor


class Draws(NamedTuple):
    """Samples and diagnostics of `sample`.

    Attributes:
        z: Positions after each kept transition, (T, S, B, D).
        step_size: As adapted, of the shape of the initial one.
        acceptance: Mean acceptance probability of the kept transitions, ().
    """

    z: Tensor
    step_size: Tensor
    acceptance: Tensor


def start(log_density: LogDensity, z: Tensor) -> Chains:
    """Chains at the positions z (S, B, D)."""
    with torch.inference_mode(False), torch.enable_grad():
        z = z.detach().clone().requires_grad_()
        value = log_density(z)
        (gradient,) = torch.autograd.grad(value.sum(), z)
    return Chains(z.detach(), value.detach(), gradient)


def leapfrog(
    log_density: LogDensity, chains: Chains, momentum: Tensor, step_size: Tensor, steps: int
) -> tuple[Chains, Tensor]:
    """The positions and momenta (S, B, D) after `steps` leapfrog steps with unit masses."""
    for _ in range(steps):
        momentum = momentum + 0.5 * step_size * chains.gradient
        chains = start(log_density, chains.z + step_size * momentum)
        momentum = momentum + 0.5 * step_size * chains.gradient
    return chains, momentum


def transition(
    log_density: LogDensity, chains: Chains, step_size: Tensor, leapfrog_steps: int = 10
) -> tuple[Chains, Tensor]:
    """One HMC transition of each chain: fresh momenta, a leapfrog trajectory, and its acceptance or rejection.

    All step sizes are multiplied by one factor from the uniform distribution on 1 ± `JITTER`.

    Args:
        log_density: Of the target.
        chains: Current state.
        step_size: Of the leapfrog steps: (), (B,) or (S, B).
        leapfrog_steps: Steps of a trajectory.

    Returns:
        The chains, and the acceptance probabilities (S, B). A trajectory that diverges is rejected.
    """
    momentum = torch.randn_like(chains.z)
    factor = 1 + JITTER * (2 * torch.rand_like(step_size.flatten()[:1]) - 1)
    step = (step_size * factor.squeeze(0)).unsqueeze(-1)
    proposal, final_momentum = leapfrog(log_density, chains, momentum, step, leapfrog_steps)
    gained = proposal.log_density - chains.log_density
    spent = 0.5 * (final_momentum.square() - momentum.square()).sum(-1)
    acceptance = (gained - spent).clamp(max=0).exp().nan_to_num(0)
    accepted = torch.rand_like(acceptance) < acceptance
    kept = accepted.unsqueeze(-1)
    z, gradient = (torch.where(kept, new, old) for new, old in ((proposal.z, chains.z), proposal[2:] + chains[2:]))
    return Chains(z, torch.where(accepted, proposal.log_density, chains.log_density), gradient), acceptance


def adapt(step_size: Tensor, acceptance: Tensor, target: float) -> Tensor:
    """The step size, moved towards a mean acceptance probability of `target`.

    log ε ← log ε + ½ (acceptance − target), with the mean acceptance of the chains that share the step size.

    Args:
        step_size: (), (B,) or (S, B).
        acceptance: Probabilities (S, B).
        target: Mean acceptance probability to reach.
    """
    shared = acceptance.sum_to_size(step_size.shape) * (step_size.numel() / acceptance.numel())
    return step_size * (ADAPTATION_RATE * (shared - target)).exp()


def sample(
    log_density: LogDensity,
    z: Tensor,
    step_size: Tensor,
    num_samples: int,
    burn_in: int,
    leapfrog_steps: int = 10,
    target_acceptance: float = 0.9,
) -> Draws:
    """Run chains from z: a burn-in that adapts the step size, then transitions that are kept.

    The step size is then fixed, at the geometric mean of its values in the second half of the adaptation, so the
    kept transitions leave the target exactly invariant.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> draws = sample(lambda z: -0.5 * z.square().sum(-1), torch.zeros(100, 1, 2), torch.tensor(0.5), 20, 20)
        >>> draws.z.shape
        torch.Size([20, 100, 1, 2])

    Args:
        log_density: Of the target.
        z: Initial positions (S, B, D).
        step_size: Initial step size: (), (B,) or (S, B).
        num_samples: T, transitions to keep.
        burn_in: Transitions to discard.
        leapfrog_steps: Steps of a trajectory.
        target_acceptance: Mean acceptance probability to adapt to.
    """
    chains, tuned, kept, acceptances = start(log_density, z), [step_size], [], []
    for _ in range(burn_in):
        chains, acceptance = transition(log_density, chains, tuned[-1], leapfrog_steps)
        tuned.append(adapt(tuned[-1], acceptance, target_acceptance))
    step_size = torch.stack(tuned[-(burn_in // 2) - 1 :]).log().mean(0).exp()
    for _ in range(num_samples):
        chains, acceptance = transition(log_density, chains, step_size, leapfrog_steps)
        kept.append(chains.z)
        acceptances.append(acceptance.mean())
    return Draws(torch.stack(kept), step_size, torch.stack(acceptances).mean())


def resample(z: Tensor, log_weights: Tensor, count: int) -> Tensor:
    """Initial positions: draws of a proposal, picked with probability proportional to their importance weights.

    Source: sampling importance resampling, Rubin (1988).

    Args:
        z: Draws (S, B, D).
        log_weights: Of the target over the proposal, up to a constant, (S, B).
        count: T, draws to pick for each datapoint, with replacement.

    Returns:
        z (T, B, D).
    """
    cumulative = log_weights.softmax(0).cumsum(0).T.contiguous()  # torch.multinomial would wait for the device
    uniform = torch.rand(len(cumulative), count, dtype=cumulative.dtype, device=z.device) * cumulative[:, -1:]
    picked = torch.searchsorted(cumulative, uniform, right=True).clamp(max=len(z) - 1).T
    return z.gather(0, picked.unsqueeze(-1).expand(-1, -1, z.shape[-1]))


def fit_gaussian(z: Tensor) -> MultivariateNormal:
    """A Gaussian with full covariance for each datapoint, fitted to its draws.

    With few draws a sample covariance is poor or singular. Each covariance is therefore the posterior mean under an
    inverse Wishart distribution around the pooled covariance, which counts as much as D + 1 draws.

    Shapes: z (S, B, D), S ≥ 2 → batch (B,), event (D,).
    """
    count, dimensions = z.shape[0], z.shape[-1]
    mean = z.mean(0)
    scatter = torch.einsum("sbi,sbj->bij", z - mean, z - mean)
    pooled = scatter.mean(0) / (count - 1)
    strength = dimensions + 1
    covariance = (scatter + strength * pooled) / (count - 1 + strength)
    # A direction in which nothing moved, because all was rejected, still gets a density.
    floor = 1e-6 * torch.eye(dimensions, dtype=z.dtype, device=z.device)
    return MultivariateNormal(mean, scale_tril=unchecked_cholesky(covariance + floor), validate_args=False)

"""The marginal likelihood by annealed importance sampling."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from aevb.estimators.base import Estimates, Estimator, low_effective_sample_size, poor_acceptance
from aevb.estimators.elbo import parts
from aevb.estimators.start import Start, StartKind
from aevb.inference import hmc
from aevb.inference.importance_weights import LogWeights
from aevb.types import AtLeastTwo, Count, Fraction
from aevb.vae import VAE, GenerativeModel

PILOT_CHAINS = 4
"""Chains per datapoint that tune the step sizes, which must not depend on the weighted chains."""

STEEPNESS = 4.0
"""Range of the sigmoid of inverse temperatures, as in Wu et al."""


@dataclass(frozen=True)
class AnnealedImportanceSampling(Estimator):
    """log 1/C Σ_c w_c, where chain c moves from q(z|x) or p(z) to p(z|x) over intermediate distributions.

    These are f_β(z) ∝ s(z)^(1 − β) p(x, z)^β, the geometric path from s, the start, at β = 0 to p(z|x) at β = 1. A
    chain accumulates log w = Σ_t (β_t − β_{t−1}) [log p(x, z_t) − log s(z_t)], with one HMC transition at each β. The
    mean of w is p(x) for any number of temperatures, so the value is a lower bound on log p(x) in expectation, which is
    tight if the chains follow the path.

    Step sizes differ by datapoint and temperature. Pilot chains tune them to the target acceptance; the weighted chains
    use fixed step sizes, so that each transition leaves its f_β invariant exactly.

    Source: Neal (2001); Wu et al. (2017), On the quantitative analysis of decoder-based generative models.

    Args:
        num_chains: C, chains per datapoint.
        num_temperatures: Number of β, both ends included.
        leapfrog_steps: Leapfrog steps per transition.
        target_acceptance: Target acceptance rate of HMC.
        start: `posterior`, q(z|x), close to p(z|x); or `prior`, which needs no encoder but more temperatures.
    """

    name: ClassVar[str] = "annealed_importance_sampling"

    num_chains: Count = 10
    num_temperatures: AtLeastTwo = 100
    leapfrog_steps: Count = 5
    target_acceptance: Fraction = 0.65
    start: StartKind = "posterior"

    @property
    def rows_per_datapoint(self) -> int:
        return max(self.num_chains, PILOT_CHAINS)

    @torch.no_grad()
    def estimate(self, vae: VAE, x: Tensor, rows: int) -> Estimates:
        start = Start(vae, x, self.start)
        path = Path(vae.p, x, start)
        step_sizes = self.tune(path, start)
        weights, acceptance = LogWeights(), torch.zeros(len(x), dtype=torch.float64, device=x.device)
        for size in parts(self.num_chains, rows // len(x)):
            log_weights, accepted = self.anneal(path, start.sample(size), step_sizes)
            weights.add(log_weights)
            acceptance += accepted * size / self.num_chains
        diagnostics = {"effective_sample_size": weights.effective_sample_size, "acceptance": acceptance}
        return Estimates(weights.log_mean, weights.variance, diagnostics)

    def betas(self) -> list[float]:
        """β from 0 to 1 on a sigmoid, denser at both ends."""
        s = torch.linspace(-STEEPNESS, STEEPNESS, self.num_temperatures, dtype=torch.float64).sigmoid()
        betas: list[float] = ((s - s[0]) / (s[-1] - s[0])).tolist()
        return betas

    def tune(self, path: "Path", start: Start) -> list[Tensor]:
        """The step sizes (B,) of the transitions, adapted by pilot chains."""
        z, step_size, tuned = start.sample(PILOT_CHAINS), start.step_size(), []
        for _, beta in self.levels():
            path.beta = beta
            chains, acceptance = hmc.transition(path, hmc.start(path, z), step_size, self.leapfrog_steps)
            z, step_size = chains.z, hmc.adapt(step_size, acceptance, self.target_acceptance)
            tuned.append(step_size)
        return tuned

    def anneal(self, path: "Path", z: Tensor, step_sizes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The log-weights (S, B) of chains that start at z (S, B, latent_dim), and their mean acceptance (B,)."""
        log_weights = torch.zeros(z.shape[:2], dtype=torch.float64, device=z.device)
        acceptances = []
        for (rise, beta), step_size in zip(self.levels(), step_sizes, strict=True):
            path.beta = beta
            chains = hmc.start(path, z)
            log_weights += rise * path.gap
            chains, acceptance = hmc.transition(path, chains, step_size, self.leapfrog_steps)
            acceptances.append(acceptance.mean(0))
            z = chains.z
        return log_weights, torch.stack(acceptances).mean(0).double()

    def levels(self) -> Iterator[tuple[float, float]]:
        """The increment of β and its value, for each transition."""
        betas = self.betas()
        yield from ((after - before, after) for before, after in pairwise(betas))

    def warnings(self, found: Estimates) -> list[str]:
        remedy = f"the value is a lower bound that may be loose: raise {self.key('num_temperatures')}"
        least = min(10.0, 0.3 * self.num_chains)
        return [
            *low_effective_sample_size(found, least, remedy),
            *poor_acceptance(found, 0.4, 0.95, f"raise {self.key('num_temperatures')}, which gives it time to adapt"),
        ]


class Path:
    """log f_β(z) = (1 − β) log s(z) + β log p(x, z), up to a constant.

    Attributes:
        beta: β.
        gap: log p(x, z) − log s(z) at the z of the last call, (S, B).
    """

    def __init__(self, p: GenerativeModel, x: Tensor, start: Start) -> None:
        self.p, self.x, self.start = p, x, start
        self.beta = 0.0
        self.gap = torch.zeros(())

    def __call__(self, z: Tensor) -> Tensor:
        log_start = self.start.log_prob(z)
        gap = self.p.log_joint(self.x, z) - log_start
        self.gap = gap.detach()
        return log_start + self.beta * gap

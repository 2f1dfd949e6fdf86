"""The marginal likelihood from draws of the posterior: the estimator of the paper's appendix D."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from aevb import hmc
from aevb.checks import choice, number, whole_number
from aevb.evaluation.base import Estimates, Estimator, low_effective_sample_size, poor_acceptance
from aevb.evaluation.start import STARTS, Start
from aevb.evaluation.weights import LogWeights
from aevb.model import Model


@dataclass(frozen=True)
class PosteriorHMC(Estimator):
    """−log 1/L Σ_l r(z_l) / p(x, z_l) with z_l ~ p(z|x) by HMC and r a Gaussian fitted to other such draws.

    The identity is E_{p(z|x)}[r(z) / p(x, z)] = 1/p(x), for any density r. It holds for an r chosen beforehand. Fitted
    to the very draws it is averaged over, r would be larger at these than at fresh draws, and 1/p(x) would come out
    too large. So r is fitted to the draws of one half of the chains, and averaged over those of the other half.

    The closer r is to p(z|x), the less noise there is. In many dimensions, or where p(z|x) is far from Gaussian, a few
    draws far out in the tails of p(z|x) carry the average, and are likely to be missing: the value is then too high.

    Source: Kingma & Welling (2013), appendix D, for fewer than about five latent dimensions.

    Args:
        num_chains: Per datapoint; an even number.
        num_samples: Draws that are kept of each chain.
        burn_in: Transitions before these, in which the step size is adapted.
        leapfrog_steps: Of a transition.
        target_acceptance: Of HMC.
        start: Where chains start: `posterior`, draws from q(z|x); or `prior`, where there is no trained encoder.
    """

    name: ClassVar[str] = "posterior_hmc"

    num_chains: int = 20
    num_samples: int = 20
    burn_in: int = 40
    leapfrog_steps: int = 5
    target_acceptance: float = 0.9
    start: str = "posterior"

    def __post_init__(self) -> None:
        whole_number(self.num_chains, self.key("num_chains"), at_least=4)
        if self.num_chains % 2:
            raise ValueError(f"{self.key('num_chains')} must be even, got {self.num_chains}")
        whole_number(self.num_samples, self.key("num_samples"))
        whole_number(self.burn_in, self.key("burn_in"))
        whole_number(self.leapfrog_steps, self.key("leapfrog_steps"))
        number(self.target_acceptance, self.key("target_acceptance"), above=0, below=1)
        choice(self.start, self.key("start"), STARTS)

    @property
    def rows_per_datapoint(self) -> int:
        return self.num_chains

    @torch.no_grad()
    def estimate(self, model: Model, x: Tensor, rows: int) -> Estimates:
        p, start = model.generative, Start(model, x, self.start)

        def log_joint(z: Tensor) -> Tensor:
            return p.log_joint(x, z)

        draws = hmc.sample(
            log_joint,
            start.sample(self.num_chains),
            start.step_size(),
            self.num_samples,
            self.burn_in,
            self.leapfrog_steps,
            self.target_acceptance,
        )
        fitted_to, averaged = draws.z.chunk(2, dim=1)
        fitted = hmc.fit_gaussian(fitted_to.flatten(0, 1))
        all_ratios, chains = LogWeights(), LogWeights()
        log_ratios = torch.stack([fitted.log_prob(z) - log_joint(z) for z in averaged])
        all_ratios.add(log_ratios.flatten(0, 1))
        # Draws of one chain depend on each other, chains do not: the noise is that between chains.
        chains.add(log_ratios.logsumexp(0) - math.log(self.num_samples))
        diagnostics = {
            "effective_sample_size": all_ratios.effective_sample_size,
            "acceptance": draws.acceptance.double().repeat(len(x)),
        }
        return Estimates(-chains.log_mean, chains.variance, diagnostics)

    def warnings(self, found: Estimates) -> list[str]:
        remedy = (
            f"the value cannot be trusted: raise {self.key('burn_in')} and {self.key('num_samples')}, or, with more"
        )
        return [
            *low_effective_sample_size(
                found,
                0.05 * self.num_chains * self.num_samples,
                f"{remedy} than five latent dimensions, use annealed_importance_sampling",
            ),
            *poor_acceptance(found, 0.6, 0.99, f"raise {self.key('burn_in')}, which gives it time to adapt"),
        ]

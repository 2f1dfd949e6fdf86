"""The marginal likelihood from draws of the posterior: the estimator of the paper's appendix D."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Interval
from torch import Tensor

from aevb.distributions.sequence import require_no_padding
from aevb.estimators.base import Estimates, Estimator, low_effective_sample_size, poor_acceptance
from aevb.estimators.start import STARTS, Start
from aevb.inference import hmc
from aevb.inference.importance_weights import LogWeights
from aevb.types import LARGEST, AtLeastTwo, Count, Fraction
from aevb.vae import VAE


@dataclass(frozen=True)
class PosteriorHMC(Estimator):
    """−log 1/L Σ_l r(z_l) / p(x, z_l) with z_l ~ p(z|x) by HMC and r a Gaussian fitted to other such draws.

    The identity E_{p(z|x)}[r(z) / p(x, z)] = 1/p(x) holds for any density r that does not depend on the draws. Fitted
    to the draws it is averaged over, r would be too large at them, and so would 1/p(x). Therefore r is fitted to the
    draws of one half of the chains, and averaged over those of the other half.

    Chains start at draws from q(z|x) and from the prior, half of each, resampled by their importance weights
    p(x, z) / (½ q(z|x) + ½ p(z)). This reaches all modes of p(z|x), even if q(z|x) is untrained or misses some. If no
    draw is close to p(z|x), the chains may not reach it, and the value is too low.

    The closer r is to p(z|x), the less noise there is. In many dimensions, or if p(z|x) is far from Gaussian, a few
    draws in the tails of p(z|x) dominate the average and are likely to be missing; the value is then too high.

    Source: Kingma & Welling (2013), appendix D, for fewer than about five latent dimensions.

    Args:
        num_chains: Chains per datapoint; an even number.
        num_samples: Draws per chain.
        burn_in: Transitions before the draws, in which the step size is adapted.
        leapfrog_steps: Leapfrog steps per transition.
        target_acceptance: Target acceptance rate of HMC.
        num_starts: Draws per datapoint from which the starts are resampled; an even number.
    """

    name: ClassVar[str] = "posterior_hmc"

    num_chains: Annotated[int, Interval(ge=4, le=LARGEST)] = 20
    num_samples: Count = 20
    burn_in: Count = 40
    leapfrog_steps: Count = 5
    target_acceptance: Fraction = 0.9
    num_starts: AtLeastTwo = 1000

    def __post_init__(self) -> None:
        for name in ("num_chains", "num_starts"):
            if getattr(self, name) % 2:
                raise ValueError(f"{name} must be even, got {getattr(self, name)}")

    @property
    def rows_per_datapoint(self) -> int:
        return self.num_chains

    @torch.no_grad()
    def estimate(self, vae: VAE, x: Tensor, rows: int) -> Estimates:
        p = vae.p
        require_no_padding(p.prior(), f"estimators=[{self.name}]", "particle_filter")

        def log_joint(z: Tensor) -> Tensor:
            return p.log_joint(x, z)

        draws = hmc.sample(
            log_joint,
            self.starts(vae, x, rows),
            Start(vae, x, "posterior").step_size(),
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
        # Draws of one chain are dependent, chains are not: the variance is that between chains.
        chains.add(log_ratios.logsumexp(0) - math.log(self.num_samples))
        diagnostics = {
            "effective_sample_size": all_ratios.effective_sample_size,
            "acceptance": draws.acceptance.double().repeat(len(x)),
        }
        return Estimates(-chains.log_mean, chains.variance, diagnostics)

    def starts(self, vae: VAE, x: Tensor, rows: int) -> Tensor:
        """The starts of the chains, (num_chains, B, latent_dim)."""
        half = self.num_starts // 2
        q, prior = (Start(vae, x, kind) for kind in STARTS)
        z = torch.cat([q.sample(half), prior.sample(half)])
        log_weights = [
            vae.p.log_joint(x, chunk) - torch.logaddexp(q.log_prob(chunk), prior.log_prob(chunk))
            for chunk in z.split(max(1, rows // len(x)))
        ]
        return hmc.resample(z, torch.cat(log_weights), self.num_chains)

    def warnings(self, found: Estimates) -> list[str]:
        remedy = f"the value is unreliable: raise {self.key('burn_in')} and {self.key('num_samples')}, or, with more"
        return [
            *low_effective_sample_size(
                found,
                0.05 * self.num_chains * self.num_samples,
                f"{remedy} than five latent dimensions, use annealed_importance_sampling",
            ),
            *poor_acceptance(found, 0.6, 0.99, f"raise {self.key('burn_in')}, which gives it time to adapt"),
        ]

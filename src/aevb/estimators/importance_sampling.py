"""The marginal likelihood by importance sampling from q(z|x)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from aevb.distributions.codes import PointMass
from aevb.distributions.kl import rsample_and_log_prob
from aevb.estimators.base import Estimates, Estimator, low_effective_sample_size
from aevb.estimators.elbo import parts
from aevb.estimators.scoring import log_likelihood
from aevb.inference.importance_weights import LogWeights
from aevb.types import Count
from aevb.vae import VAE


@dataclass(frozen=True)
class ImportanceSampling(Estimator):
    """log 1/K Σ_k p(x, z_k) / q(z_k|x) with z_k ~ q(z|x): the importance weighted bound IWAE-K.

    In expectation it is between the ELBO (K = 1) and log p(x), and tends to log p(x) as K grows. It is far below
    log p(x) if few of the K samples carry all the weight, because q(z|x) does not cover p(z|x). A small effective
    sample size shows this, but not if q misses a mode completely.

    Source: Burda et al. (2016), eq. 8; Rezende et al. (2014), appendix E.

    Args:
        num_samples: K.
    """

    name: ClassVar[str] = "importance_sampling"

    num_samples: Count = 1000

    @property
    def rows_per_datapoint(self) -> int:
        return self.num_samples

    @torch.inference_mode()
    def estimate(self, vae: VAE, x: Tensor, rows: int) -> Estimates:
        p, q = vae.p, vae.q
        posterior, prior, score = q(x), p.prior(), log_likelihood(p, x)
        weights = LogWeights()
        for size in parts(self.num_samples, rows // len(x)):
            z, log_q = rsample_and_log_prob(posterior, (size,))
            weights.add(score(z) + (prior.log_prob(z) - log_q))
        effective = weights.effective_sample_size
        if isinstance(posterior, PointMass):  # all draws are one
            effective = torch.ones_like(effective)
        return Estimates(weights.log_mean, weights.variance, {"effective_sample_size": effective})

    def warnings(self, found: Estimates) -> list[str]:
        return low_effective_sample_size(
            found,
            10,
            "the value is a lower bound that may be loose: raise "
            f"{self.key('num_samples')}, or use annealed_importance_sampling",
        )

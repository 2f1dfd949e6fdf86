"""The marginal likelihood of models with discrete latent variables, exactly."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from aevb.distributions.one_hot import OneHotGroups
from aevb.errors import ConfigError
from aevb.estimators.base import Estimates, Estimator
from aevb.types import Count
from aevb.vae import VAE


@dataclass(frozen=True)
class Enumeration(Estimator):
    """log p(x) = log Σ_z P(z) p(x|z) over all one-hot z, and as a diagnostic the ELBO by the same sum under Q(z|x).

    N groups of K categories have K^N values, each of which is decoded once for a batch of datapoints.

    Args:
        most: Values of z above which it refuses.
    """

    name: ClassVar[str] = "enumeration"

    most: Count = 100_000

    @property
    def rows_per_datapoint(self) -> int:
        return 1

    @torch.inference_mode()
    def estimate(self, vae: VAE, x: Tensor, rows: int) -> Estimates:
        posterior, prior = vae.q(x), vae.p.prior()
        if not isinstance(posterior, OneHotGroups):
            raise ConfigError("estimators=[enumeration] needs discrete latent variables, model/posterior=concrete")
        groups, categories = posterior.logits.shape[-2:]
        if categories**groups > self.most:
            raise ConfigError(
                f"{self.key('most')} must be at least {categories}^{groups}, the number of values of z, got "
                f"{self.most:,}"
            )
        totals, bounds = [], []
        for z in posterior.enumerate_support().unsqueeze(1).split(max(1, rows // len(x))):
            log_joint = vae.p.likelihood(z).log_prob(x).double() + prior.log_prob(z)
            log_q = posterior.log_prob(z).double()
            totals.append(log_joint.logsumexp(0))
            bounds.append((log_q.exp() * (log_joint - log_q)).sum(0))
        value = torch.stack(totals).logsumexp(0)
        return Estimates(value, torch.zeros_like(value), {"exact_elbo": torch.stack(bounds).sum(0)})

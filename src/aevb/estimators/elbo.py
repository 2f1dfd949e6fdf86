"""The evidence lower bound."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from aevb.distributions.kl import analytic_kl, rsample_and_log_prob
from aevb.estimators.base import Estimates, Estimator
from aevb.estimators.scoring import log_likelihood
from aevb.types import AtLeastTwo
from aevb.vae import VAE, GenerativeModel


@dataclass(frozen=True)
class ELBO(Estimator):
    """E_q[log p(x|z)] − KL(q(z|x) ‖ p(z)), a lower bound on log p(x), by L samples of z.

    The KL is in closed form where one is known, otherwise estimated from the same samples.

    Source: Kingma & Welling (2013), eq. 6 and 7.

    Args:
        num_samples: L.
    """

    name: ClassVar[str] = "elbo"

    num_samples: AtLeastTwo = 20

    @property
    def rows_per_datapoint(self) -> int:
        return self.num_samples

    @torch.inference_mode()
    def estimate(self, vae: VAE, x: Tensor, rows: int) -> Estimates:
        return Estimates(*bound_of(vae.p, vae.q(x), x, self.num_samples, rows), {})


def bound_of(
    p: GenerativeModel, posterior: Distribution, x: Tensor, num_samples: int, rows: int
) -> tuple[Tensor, Tensor]:
    """The bound for a posterior with batch (B,), and the variance of its noise, (B,) each; without gradients."""
    prior, score, kl = p.prior(), log_likelihood(p, x), analytic_kl(posterior, p.prior(), "auto")
    values = []
    for size in parts(num_samples, rows // len(x)):
        if kl is None:
            z, log_q = rsample_and_log_prob(posterior, (size,))
            log_ratio = log_q - prior.log_prob(z)
        else:
            z, log_ratio = posterior.sample(torch.Size((size,))), kl
        values.append((score(z) - log_ratio).double())
    variance, mean = torch.var_mean(torch.cat(values), 0)
    return mean, variance / num_samples


def parts(total: int, at_most: int) -> list[int]:
    """`total` as the smallest number of nearly equal parts of at most `at_most` (at least 1)."""
    count = -(-total // max(1, at_most))
    return [total // count + (index < total % count) for index in range(count)]

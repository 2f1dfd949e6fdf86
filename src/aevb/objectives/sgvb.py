"""Stochastic gradient variational Bayes, the estimator of the paper."""

from torch import Tensor

from aevb.model import GenerativeModel, RecognitionModel
from aevb.objectives.base import Estimate, Objective, elbo

KL_ESTIMATORS = ("auto", "analytic", "sampled")


class SGVB(Objective):
    """The negative ELBO by reparameterized samples: eq. 7 with the analytic KL, eq. 6 with all terms sampled.

    Source: Kingma & Welling (2013), section 2.3.

    Args:
        num_samples: L, samples of z per datapoint.
        kl: `analytic` (eq. 7), `sampled` (eq. 6), or `auto`: analytic where a closed form is known.
        weight_prior: See `Objective`.

    Raises:
        ValueError: num_samples is not positive, or kl is unknown.
    """

    def __init__(self, num_samples: int = 1, kl: str = "auto", weight_prior: bool = True) -> None:
        super().__init__(weight_prior)
        if num_samples < 1:
            raise ValueError(f"objective.num_samples must be at least 1, got {num_samples}")
        if kl not in KL_ESTIMATORS:
            raise ValueError(f"objective.kl must be one of {', '.join(KL_ESTIMATORS)}, got {kl!r}")
        self.num_samples = num_samples
        self.kl = kl

    def estimate(self, p: GenerativeModel, q: RecognitionModel, x: Tensor) -> Estimate:
        return elbo(p, q, x, self.num_samples, self.kl)

"""Stochastic gradient variational Bayes, the estimator of the paper."""

from typing import Literal

import torch
from torch import Tensor
from torch.distributions import Distribution

from aevb.distributions.kl import KLEstimator, distribution_name, factorized, kl_estimate, sample_and_kl_terms
from aevb.objectives.base import Estimate, Objective, elbo_of, statistics
from aevb.types import CountOrZero, NonNegative, Size
from aevb.vae import GenerativeModel, RecognitionModel


class SGVB(Objective):
    """The negative ELBO by reparameterized samples: eq. 7 with the analytic KL, eq. 6 with all terms sampled.

    The loss may weigh the KL; the reported ELBO does not. In general,

        loss = −E_q[log p(x|z)] + β(t) |Σ_g max(λ, KL_g) − C(t)|,

    where β(t) = β min(1, t / T) after t training samples, λ is `free_bits`, and KL_g is the KL of one group of latent
    dimensions, averaged over the minibatch before the maximum is taken. With a capacity C the KL is pressed towards
    C(t) = C min(1, t / T_C), in place of 0; then β is the γ of Burgess et al.

    Sources: Kingma & Welling (2013), section 2.3; β: Higgins et al. (2017); its warm-up: Bowman et al. (2016),
    Sønderby et al. (2016); free bits: Kingma et al. (2016), appendix C.8; the capacity: Burgess et al. (2018), eq. 8.

    Args:
        num_samples: L, samples of z per datapoint.
        kl: `analytic` (eq. 7), `sampled` (eq. 6), or `auto`: analytic where a closed form is known.
        beta: β, the weight of the KL in the loss.
        beta_warmup_samples: T, training samples over which the weight of the KL rises linearly from 0 to β; 0: none.
        free_bits: λ in nats; the KL of a group is not reduced below it. 0: none.
        free_bits_per: A group is a latent `dimension`, a `layer` of a model with several, or all that encodes a
            `datapoint`.
        capacity: C in nats, towards which the KL is pressed; 0: none.
        capacity_samples: T_C, training samples over which the capacity rises linearly from 0 to C; 0: none.
        weight_prior: See `Objective`.

    Logged in addition, where the setting is used: `beta`, the current weight of the KL, `kl_free_bits`, the KL as it is
    charged with free bits, and `capacity`, the current C.
    """

    auxiliary_losses = True

    def __init__(
        self,
        num_samples: Size = 1,
        kl: KLEstimator = "auto",
        beta: NonNegative = 1.0,
        beta_warmup_samples: CountOrZero = 0,
        free_bits: NonNegative = 0.0,
        free_bits_per: Literal["dimension", "layer", "datapoint"] = "dimension",
        capacity: NonNegative = 0.0,
        capacity_samples: CountOrZero = 0,
        weight_prior: bool = True,
    ) -> None:
        super().__init__(weight_prior)
        self.num_samples = num_samples
        self.kl = kl
        self.beta = beta
        self.beta_warmup_samples = beta_warmup_samples
        self.free_bits = free_bits
        self.free_bits_per = free_bits_per
        self.capacity = capacity
        self.capacity_samples = capacity_samples

    def estimate(self, p: GenerativeModel, q: RecognitionModel, x: Tensor) -> Estimate:
        posterior = q(x)
        return self.with_auxiliary_loss(q, posterior, self.weighted(posterior, p, x))

    def weighted(self, posterior: Distribution, p: GenerativeModel, x: Tensor) -> Estimate:
        """The estimate with the KL as the loss weighs it."""
        if self.beta == 1 and not (self.beta_warmup_samples or self.free_bits or self.capacity):
            return elbo_of(posterior, p, x, self.num_samples, self.kl)
        prior = p.prior()
        z, kl, layers = sample_and_kl_terms(posterior, prior, self.num_samples, self.kl)
        log_likelihood = p.likelihood(z).log_prob(x).mean(0)
        charge, extras = kl.mean(), layers | statistics(posterior)
        if self.free_bits:
            groups = self.kl_of_groups(posterior, prior, z, kl, layers)
            charge = extras["kl_free_bits"] = groups.clamp(min=self.free_bits).sum()
        if self.capacity:
            extras["capacity"] = self.risen(self.capacity, self.capacity_samples)
            charge = (charge - extras["capacity"]).abs()
        if self.beta != 1 or self.beta_warmup_samples:
            extras["beta"] = self.risen(self.beta, self.beta_warmup_samples)
            charge = extras["beta"] * charge
        return Estimate(charge - log_likelihood.mean(), log_likelihood - kl, log_likelihood, kl, extras)

    def risen(self, value: float, over_samples: int) -> Tensor:
        """A value that rises linearly from 0 over so many training samples, after those seen so far, ()."""
        if not over_samples:
            return torch.full((), float(value), device=self.samples_seen.device)
        return value * (self.samples_seen / over_samples).clamp(max=1)

    def kl_of_groups(
        self, posterior: Distribution, prior: Distribution, z: Tensor, kl: Tensor, layers: dict[str, Tensor]
    ) -> Tensor:
        """KL_g of each group, averaged over the minibatch, (groups,)."""
        if self.free_bits_per == "datapoint":
            return kl.mean(0, keepdim=True)
        if self.free_bits_per == "layer":
            if not layers:
                raise ValueError(
                    "objective.free_bits_per=layer needs a model of several layers, such as model=ladder, got "
                    f"{distribution_name(posterior)}; use free_bits_per=datapoint"
                )
            return torch.stack(list(layers.values())).mean(-1)
        q, p = factorized(posterior), factorized(prior)
        if q is None or p is None:
            raise ValueError(
                "objective.free_bits_per=dimension needs a posterior and a prior that factorize over the dimensions of "
                f"z, got {distribution_name(prior if q else posterior)}; use free_bits_per=datapoint"
            )
        return kl_estimate(q, p, z, self.kl).mean(0)

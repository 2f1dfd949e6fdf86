"""Full variational Bayes: a posterior over the generative weights as well as over z."""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from aevb.distributions.kl import KLEstimator
from aevb.objectives.base import Estimate, Objective, elbo
from aevb.types import Positive, Size
from aevb.vae import GenerativeModel, RecognitionModel


class FullVB(Objective):
    """The negative bound on log p(X)/N with θ integrated out as well as z.

        log p(X)/N ≥ E_q(θ)[1/N Σ_i ELBO(x_i; θ)] − 1/N KL(q(θ) ‖ p(θ))

    with p(θ) = N(0, I) and q(θ) = N(μ, diag σ²) over all generative weights, sampled as θ = μ + σ ζ, ζ ~ N(0, I), once
    per minibatch. Its KL is 1/2 Σ_j (μ_j² + σ_j² − 1 − log σ_j²). The model's own weights are the means μ: pictures,
    samples and the methods of a trained model use them. The log σ are parameters of the objective.

    `elbo` is the bound on log p(X)/N, in validation and test as in training: log_likelihood − kl − kl_weights, with
    sampled weights. The KL of the weights is part of it on held-out data as well.

    Source: Kingma & Welling (2013), appendix F.

    Args:
        num_samples: L, samples of z per datapoint and sample of θ.
        num_weight_samples: Samples of θ per minibatch.
        initial_scale: σ of every weight at the start.
        kl: Of z: `analytic`, `sampled`, or `auto`: analytic where a closed form is known.

    Logged in addition: `kl_weights`, KL(q(θ) ‖ p(θ))/N, nats per datapoint.
    """

    def __init__(
        self,
        num_samples: Size = 1,
        num_weight_samples: Size = 1,
        initial_scale: Positive = 0.05,
        kl: KLEstimator = "auto",
    ) -> None:
        super().__init__(weight_prior=False)  # p(θ) is in the bound itself
        self.num_samples = num_samples
        self.num_weight_samples = num_weight_samples
        self.initial_scale = initial_scale
        self.kl = kl
        self.log_scales = nn.ParameterList()
        """log σ of each generative weight, in the order of the generative model's trainable parameters."""

    def connect(self, p: GenerativeModel, q: RecognitionModel) -> None:
        """Make log σ of each generative weight."""
        for mean in means(p).values():
            self.log_scales.append(torch.full_like(mean, math.log(self.initial_scale)))

    def estimate(self, p: GenerativeModel, q: RecognitionModel, x: Tensor) -> Estimate:
        bound, weights = Bound(p, q, self.num_samples, self.kl), means(p)
        if len(self.log_scales) != len(weights):
            raise RuntimeError("objective FullVB needs objective.connect(p, q) first")
        estimates = [functional_call(bound, self.draw(weights), (x,)) for _ in range(self.num_weight_samples)]
        log_likelihood = torch.stack([estimate.log_likelihood for estimate in estimates]).mean(0)
        kl = torch.stack([estimate.kl for estimate in estimates]).mean(0)
        kl_weights = self.kl_weights(weights) / self.training_set_size("FullVB")
        elbo = log_likelihood - kl - kl_weights
        return Estimate(-elbo.mean(), elbo, log_likelihood, kl, {"kl_weights": kl_weights})

    def evaluate(self, p: GenerativeModel, q: RecognitionModel, x: Tensor) -> Estimate:
        """The bound on log p(X)/N and its parts."""
        return self.estimate(p, q, x)

    def draw(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """θ ~ q(θ), reparameterized."""
        pairs = zip(weights.items(), self.log_scales, strict=True)
        return {f"p.{name}": mean + scale.exp() * torch.randn_like(mean) for (name, mean), scale in pairs}

    def kl_weights(self, weights: dict[str, Tensor]) -> Tensor:
        """KL(q(θ) ‖ N(0, I)) over all weights, in nats, ()."""
        pairs = zip(weights.values(), self.log_scales, strict=True)
        parts = [0.5 * (mean.square() + (2 * scale).exp() - 1 - 2 * scale).sum() for mean, scale in pairs]
        return torch.stack(parts).sum()


class Bound(nn.Module):
    """`elbo` as a module, so that the generative weights can be replaced in a call."""

    def __init__(self, p: GenerativeModel, q: RecognitionModel, num_samples: int, kl: KLEstimator) -> None:
        super().__init__()
        self.p, self.q = p, q
        self.num_samples = num_samples
        self.kl = kl

    def forward(self, x: Tensor) -> Estimate:
        return elbo(self.p, self.q, x, self.num_samples, self.kl)


def means(p: GenerativeModel) -> dict[str, Tensor]:
    """The trainable generative weights by name."""
    return {name: cast(Tensor, weight) for name, weight in p.named_parameters() if weight.requires_grad}

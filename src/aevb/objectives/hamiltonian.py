"""The Hamiltonian variational auto-encoder."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor, nn

from aevb.distributions.kl import KLEstimator, sample_and_kl_terms
from aevb.distributions.support import require_real
from aevb.objectives.base import Estimate, Objective
from aevb.types import CountOrZero, Positive, Size
from aevb.vae import GenerativeModel, RecognitionModel

InverseTemperature = Annotated[float, Interval(gt=0, le=1)]


class HamiltonianVAE(Objective):
    """The negative bound of a posterior that moves z ~ q(z|x) by K leapfrog steps towards p(z|x).

    A draw z_0 of q(z|x) is given a momentum ρ_0 = s_0 γ, γ ~ N(0, I), and each of K steps is

        ρ ← ρ + ½ ε ∇_z log p(x, z),  z ← z + ε ρ,  ρ ← ρ + ½ ε ∇_z log p(x, z),  ρ ← (s_k / s_{k−1}) ρ,

    with a step size ε of each dimension and the temperatures s_k = 1 + (s_0 − 1)(1 − k²/K²), s_0 = β_0^−½. Volume
    is lost to the tempering alone, by s_0^−D, which the scale of the momentum at the start makes up for, so

        log p(x) ≥ E[log p(x, z_K) − log q(z_0|x) + log N(ρ_K; 0, I) − log N(γ; 0, I)],

    estimated as the ELBO at z_0, with its closed form of the KL where there is one, plus the change of
    log p(x, z) + log N(ρ; 0, I). There is no acceptance step: all is differentiable, and ε and β_0 are trained with θ
    and φ. For K = 0 it is `SGVB`. A step costs a second derivative of the decoder.

    `elbo` is that of q(z|x) itself, comparable with that of other objectives.

    Source: Caterini, Doucet & Sejdinovic (2018), with their fixed tempering.

    Args:
        num_samples: L, samples of z per datapoint.
        kl: Of q(z|x): `analytic`, `sampled`, or `auto`: analytic where a closed form is known.
        leapfrog_steps: K.
        step_size: ε of every dimension at the start.
        inverse_temperature: β_0 at the start, from above 0 to 1; 1: no tempering, now or later.
        weight_prior: See `Objective`.

    Logged in addition: `hamiltonian`, the bound, in training as in validation and test, unless K = 0.
    """

    def __init__(
        self,
        num_samples: Size = 1,
        kl: KLEstimator = "auto",
        leapfrog_steps: CountOrZero = 5,
        step_size: Positive = 0.05,
        inverse_temperature: InverseTemperature = 1.0,
        weight_prior: bool = True,
    ) -> None:
        super().__init__(weight_prior)
        self.num_samples = num_samples
        self.kl = kl
        self.leapfrog_steps = leapfrog_steps
        self.step_size = step_size
        self.inverse_temperature = inverse_temperature
        self.log_step_size: nn.Parameter | None = None
        """log ε, (latent_dim,)."""
        self.log_excess: nn.Parameter | None = None
        """log(s_0 − 1), ()."""

    def connect(self, p: GenerativeModel, q: RecognitionModel) -> None:
        """Make log ε and, where there is tempering, log(s_0 − 1)."""
        require_real(p.prior.support, "objective=hamiltonian", "another objective or prior")
        if not self.leapfrog_steps:
            return
        self.log_step_size = nn.Parameter(torch.full((p.latent_dim,), math.log(self.step_size)))
        if self.inverse_temperature < 1:
            self.log_excess = nn.Parameter(torch.tensor(math.log(self.inverse_temperature**-0.5 - 1)))

    def estimate(self, p: GenerativeModel, q: RecognitionModel, x: Tensor) -> Estimate:
        posterior, prior = q(x), p.prior()
        z, kl, blocks = sample_and_kl_terms(posterior, prior, self.num_samples, self.kl)
        log_likelihood = p.likelihood(z).log_prob(x).mean(0)
        elbo = log_likelihood - kl
        if not self.leapfrog_steps:
            return Estimate(-elbo.mean(), elbo, log_likelihood, kl, blocks)
        bound = elbo + self.gain(lambda z: p.log_joint(x, z), z).mean(0)
        return Estimate(-bound.mean(), elbo, log_likelihood, kl, blocks | {"hamiltonian": bound})

    def evaluate(self, p: GenerativeModel, q: RecognitionModel, x: Tensor) -> Estimate:
        """The true ELBO of q(z|x) and, as `hamiltonian`, the bound."""
        with torch.inference_mode(False), torch.no_grad():
            return self.estimate(p, q, x.clone())  # tensors of inference mode cannot be differentiated through

    def gain(self, log_joint: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
        """The change of log p(x, z) + log N(ρ; 0, I) from (z_0, γ) to (z_K, ρ_K), in nats: z (L, B, D) → (L, B)."""
        if self.log_step_size is None:
            raise RuntimeError("objective HamiltonianVAE needs objective.connect(p, q) first")
        step_size, scales = self.log_step_size.exp(), self.momentum_scales()
        gamma = torch.randn_like(z)
        momentum = gamma * scales[0]
        start, slope = value_and_slope(log_joint, z)
        value = start
        for before, after in pairwise(scales):
            momentum = momentum + 0.5 * step_size * slope
            z = z + step_size * momentum
            value, slope = value_and_slope(log_joint, z)
            momentum = (momentum + 0.5 * step_size * slope) * (after / before)
        return value - start + 0.5 * (gamma.square() - momentum.square()).sum(-1)

    def momentum_scales(self) -> list[Tensor]:
        """s_0, …, s_K, () each."""
        assert self.log_step_size is not None
        excess = self.log_step_size.new_zeros(()) if self.log_excess is None else self.log_excess.exp()
        steps = self.leapfrog_steps
        return [1 + excess * (1 - (k / steps) ** 2) for k in range(steps + 1)]


def value_and_slope(log_density: Callable[[Tensor], Tensor], z: Tensor) -> tuple[Tensor, Tensor]:
    """log p at z (L, B, D), (L, B), and its gradient (L, B, D), which has gradients itself where they are enabled."""
    differentiable = torch.is_grad_enabled()
    with torch.enable_grad():
        z = z if z.requires_grad else z.detach().requires_grad_()
        value = log_density(z)
        (slope,) = torch.autograd.grad(value.sum(), z, create_graph=differentiable)
    return (value, slope) if differentiable else (value.detach(), slope)

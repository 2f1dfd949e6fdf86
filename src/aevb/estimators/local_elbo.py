"""The evidence lower bound with a posterior that is optimized for each datapoint by itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.func import functional_call, vmap

from aevb.distributions.flows import GaussianFlow, affine_autoregressive
from aevb.distributions.gaussian import CholeskyGaussian, diagonal_gaussian
from aevb.distributions.kl import sample_and_kl
from aevb.distributions.moments import closed_moment
from aevb.distributions.sequence import require_no_padding
from aevb.distributions.support import require_real
from aevb.errors import ConfigError
from aevb.estimators.base import Estimates, Estimator
from aevb.estimators.elbo import bound_of
from aevb.posteriors import Posterior
from aevb.types import AtLeastTwo, Positive, Size
from aevb.vae import VAE, RecognitionModel

Family = Literal["encoder", "diagonal_gaussian", "full_gaussian", "flow"]
Local = tuple[list[Tensor], Callable[..., Distribution]]
"""Parameters of B distributions, (B, …) each, and the distribution with given ones."""

DRAWS = 100
"""Of the encoder's q(z|x), whose mean and standard deviation another family starts from."""


@dataclass(frozen=True)
class LocalELBO(Estimator):
    """max_λ E_q_λ[log p(x|z)] − KL(q_λ(z) ‖ p(z)) for each datapoint, a bound between the ELBO and log p(x).

    It splits the gap of the ELBO, KL(q(z|x) ‖ p(z|x)), in two:

        log p(x) − ELBO = [log p(x) − max_λ ELBO(λ)] + [max_λ ELBO(λ) − ELBO]

    the approximation gap, which is due to the family of q, and the amortization gap, which is due to the encoder's
    parameters not being the best of the family for each x. λ starts at the encoder's q(z|x) and is optimized by Adam,
    with a learning rate that falls to zero along a cosine. Fresh samples estimate the bound that is reported.

    Families: `encoder`, that of q(z|x): its parameters, or the encoder's features where its head is no `Posterior`, as
    with several layers. `diagonal_gaussian` and `full_gaussian` start with the means and standard deviations of q(z|x).
    `flow` adds to a diagonal Gaussian two affine autoregressive steps with networks of their own for each datapoint.

    Source: Cremer, Li & Duvenaud (2018), Inference suboptimality in variational autoencoders, arXiv 1801.03558.

    Args:
        family: Of q_λ.
        num_steps: Of Adam.
        learning_rate: Initial, of Adam.
        num_samples: Samples of z per datapoint and step.
        final_samples: Samples of z per datapoint for the reported bound.
    """

    name: ClassVar[str] = "local_elbo"

    family: Family = "encoder"
    num_steps: Size = 300
    learning_rate: Positive = 0.03
    num_samples: Size = 5
    final_samples: AtLeastTwo = 100

    @property
    def rows_per_datapoint(self) -> int:
        return self.num_samples

    def estimate(self, vae: VAE, x: Tensor, rows: int) -> Estimates:
        if self.family != "encoder":
            what = f"{self.key('family')}={self.family}"
            require_real(vae.p.prior.support, what, "encoder")
            require_no_padding(vae.p.prior(), what, "encoder")
        if vae.p.prior.support in ("among codes", "one-hot"):
            raise ConfigError(
                f"{self.name} follows the gradient of the bound, and z is {vae.p.prior.support}; use elbo"
            )
        parameters, distribution = LOCAL[self.family](vae.q, x)
        trace = self.optimize(vae, x, parameters, distribution)
        with torch.no_grad():
            value, variance = bound_of(vae.p, distribution(*parameters), x, self.final_samples, rows)
        tenth = max(1, self.num_steps // 10)
        middle = trace[self.num_steps // 2 :][:tenth].mean(0)
        return Estimates(value, variance, {"last_rise": trace[-tenth:].mean(0) - middle})

    def optimize(
        self, vae: VAE, x: Tensor, parameters: list[Tensor], distribution: Callable[..., Distribution]
    ) -> Tensor:
        """Optimize the parameters in place; returns the estimates of the bound on the way, (num_steps, B)."""
        for parameter in parameters:
            parameter.requires_grad_()
        optimizer = torch.optim.Adam(parameters, lr=self.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.num_steps)
        trace = []
        for _ in range(self.num_steps):
            with torch.enable_grad():
                z, kl = sample_and_kl(distribution(*parameters), vae.p.prior(), self.num_samples)
                bound = vae.p.likelihood(z).log_prob(x).mean(0) - kl
                gradients = torch.autograd.grad(-bound.sum(), parameters)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()
            schedule.step()
            trace.append(bound.detach().double())
        return torch.stack(trace)

    def warnings(self, found: Estimates) -> list[str]:
        rise = float(found.diagnostics["last_rise"].mean())
        if rise < 0.2:
            return []
        return [
            f"the bound rose by {rise:.2f} nats in the second half of the optimization, and may have farther to go: "
            f"raise {self.key('num_steps')}"
        ]


def encoder_family(q: RecognitionModel, x: Tensor) -> Local:
    """The family of q(z|x), at the encoder's parameters."""
    with torch.no_grad():
        h = q.encoder(x.to(next(q.parameters()).dtype))
        if isinstance(q.head, Posterior):
            return [q.head.layer(h.to(q.head.layer.weight.dtype))], q.head.distribution
    return [h], q.head


def diagonal_gaussian_family(q: RecognitionModel, x: Tensor) -> Local:
    """N(μ, diag σ²), with the means and standard deviations of q(z|x)."""
    mean, deviation = moments(q, x)
    return [mean, 2 * deviation.log()], diagonal_gaussian


def full_gaussian_family(q: RecognitionModel, x: Tensor) -> Local:
    """N(μ, L Lᵀ) with L = diag(σ) (I + A), A strictly lower triangular and at first 0."""
    mean, deviation = moments(q, x)
    below = torch.zeros(*mean.shape, mean.shape[-1], dtype=mean.dtype, device=mean.device)
    identity = torch.eye(mean.shape[-1], dtype=mean.dtype, device=mean.device)

    def distribution(mean: Tensor, log_deviation: Tensor, below: Tensor) -> Distribution:
        factor = log_deviation.exp().unsqueeze(-1) * (identity + below.tril(-1))
        return CholeskyGaussian(mean, scale_tril=factor, validate_args=False)

    return [mean, deviation.log(), below], distribution


def flow_family(q: RecognitionModel, x: Tensor) -> Local:
    """μ + σ f(ε), f two affine autoregressive steps and at first the identity."""
    mean, deviation = moments(q, x)
    warp = Warp(mean.shape[-1]).to(mean)
    names = [name for name, _ in warp.named_parameters()]
    weights = [weight.detach().expand(len(x), *weight.shape).clone() for weight in warp.parameters()]

    def distribution(mean: Tensor, log_deviation: Tensor, *weights: Tensor) -> Distribution:
        transform = WarpPerDatapoint(warp, dict(zip(names, weights, strict=True)))
        return GaussianFlow(mean, log_deviation.exp(), transform)

    return [mean, deviation.log(), *weights], distribution


class Warp(nn.Module):
    """f and log|det ∂f/∂ε|, of noise (S, latent_dim)."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.flow = affine_autoregressive(latent_dim, 0, transforms=2, hidden=[32])

    def forward(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        warped: tuple[Tensor, Tensor] = self.flow(None).call_and_ladj(noise)
        return warped


class WarpPerDatapoint:
    """A `Warp` with weights (B, …) of its own for each datapoint."""

    def __init__(self, warp: Warp, weights: dict[str, Tensor]) -> None:
        self.warp, self.weights = warp, weights

    def call_and_ladj(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """noise (S, B, latent_dim) → (S, B, latent_dim) and (S, B)."""

        def one(weights: dict[str, Tensor], noise: Tensor) -> tuple[Tensor, Tensor]:
            warped: tuple[Tensor, Tensor] = functional_call(self.warp, weights, (noise,))
            return warped

        warped: tuple[Tensor, Tensor] = vmap(one, in_dims=(0, 1), out_dims=1)(self.weights, noise)
        return warped


LOCAL: dict[Family, Callable[[RecognitionModel, Tensor], Local]] = {
    "encoder": encoder_family,
    "diagonal_gaussian": diagonal_gaussian_family,
    "full_gaussian": full_gaussian_family,
    "flow": flow_family,
}


@torch.no_grad()
def moments(q: RecognitionModel, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of q(z|x), (B, latent_dim) each; of draws where they have no closed form."""
    posterior = q(x)
    mean, variance = closed_moment(posterior, "mean"), closed_moment(posterior, "variance")
    if mean is None or variance is None:
        z = posterior.sample(torch.Size((DRAWS,)))
        mean, variance = z.mean(0), z.var(0)
    return mean.clone(), variance.sqrt().clamp(min=1e-4)

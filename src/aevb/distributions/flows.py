"""Normalizing flows over a Gaussian, built with zuko."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Transform, constraints

# Importing zuko turns off argument validation in all of torch.distributions; restore the program's setting.
_validation = Distribution._validate_args
import zuko.flows  # noqa: E402
import zuko.flows.coupling  # noqa: E402
import zuko.lazy  # noqa: E402
import zuko.transforms  # noqa: E402

Distribution.set_default_validate_args(bool(_validation))


NOISE_PAIRS = 32
"""Antithetic pairs of noise from which a flow's mean is estimated."""


class GaussianFlow(Distribution):
    """z = μ + σ f(ε) with ε ~ N(0, I) and an invertible f, so log q(z) = log N(ε; 0, I) − log|det ∂f/∂ε| − Σ_j log σ_j.

    `log_prob` inverts f, which can take one pass through its networks for each dimension; `rsample_and_log_prob` gives
    a sample and its density by a single pass. Both are exact.

    Shapes: batch as `loc` without its last dimension, event (latent_dim,).

    Args:
        loc: μ (..., latent_dim).
        scale: σ, positive, of the same shape.
        transform: f.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "loc": constraints.real_vector,
        "scale": constraints.positive,
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, scale: Tensor, transform: zuko.transforms.ComposedTransform) -> None:
        self.loc, self.scale, self.transform = loc, scale, transform
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> "GaussianFlow":
        shape = (*batch_shape, *self.event_shape)
        return GaussianFlow(self.loc.expand(shape), self.scale.expand(shape), self.transform)

    @property
    def mean(self) -> Tensor:
        """E[z], estimated from fixed pairs ε, −ε; exact where f is affine."""
        generator = torch.Generator(self.loc.device).manual_seed(0)
        half = torch.randn(
            NOISE_PAIRS, *self.event_shape, generator=generator, dtype=self.loc.dtype, device=self.loc.device
        )
        noise = torch.cat([half, -half]).view(-1, *[1] * len(self.batch_shape), *self.event_shape)
        with torch.autocast(noise.device.type, enabled=False):
            warped = self.transform(noise.expand(-1, *self.batch_shape, *self.event_shape))
        return self.loc + self.scale * warped.mean(0)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.rsample_and_log_prob(sample_shape)[0]

    def rsample_and_log_prob(self, sample_shape: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
        """z (*sample_shape, *batch, latent_dim) and log q(z), by one pass of f."""
        shape = self._extended_shape(torch.Size(sample_shape))
        noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        with torch.autocast(noise.device.type, enabled=False):
            warped, log_volume = self.transform.call_and_ladj(noise)
        return self.loc + self.scale * warped, self._log_density(noise, log_volume)

    def log_prob(self, value: Tensor) -> Tensor:
        with torch.autocast(value.device.type, enabled=False):
            noise, log_volume = self.transform.inv.call_and_ladj((value - self.loc) / self.scale)
        return self._log_density(noise, -log_volume)

    def _log_density(self, noise: Tensor, log_volume: Tensor) -> Tensor:
        log_noise = -0.5 * (noise.square() + math.log(2 * math.pi)).sum(-1)
        return log_noise - log_volume - self.scale.log().sum(-1)


def affine_autoregressive(
    latent_dim: int, context: int, transforms: int, hidden: Sequence[int]
) -> zuko.lazy.LazyTransform:
    """z_i → shift_i + scale_i z_i, both functions of z_1 … z_{i−1} and the context; the order is reversed each time."""
    flow = zuko.flows.MAF(latent_dim, context, transforms, hidden_features=hidden, activation=nn.ELU)
    return start_at_identity(flow.transform)


def spline_autoregressive(
    latent_dim: int, transforms: int, bins: int, hidden: Sequence[int]
) -> zuko.lazy.LazyTransform:
    """z_i → a monotonic spline of it, a function of z_1 … z_{i−1}; the order is reversed each time."""
    flow = zuko.flows.NSF(latent_dim, transforms=transforms, bins=bins, hidden_features=hidden, activation=nn.ELU)
    return start_at_identity(flow.transform)


def spline_coupling(
    latent_dim: int, context: int, transforms: int, bins: int, hidden: Sequence[int]
) -> zuko.lazy.LazyTransform:
    """Every other z_i → a monotonic spline of it, a function of the rest and the context; in turns."""
    steps = [
        Coupling(
            latent_dim,
            context,
            mask=torch.arange(latent_dim) % 2 == number % 2,
            univariate=zuko.transforms.MonotonicRQSTransform,
            shapes=[(bins,), (bins,), (bins - 1,)],
            hidden_features=hidden,
            activation=nn.ELU,
        )
        for number in range(transforms)
    ]
    return start_at_identity(zuko.lazy.LazyComposedTransform(*steps))


class Coupling(zuko.flows.coupling.GeneralCouplingTransform):
    """zuko's coupling transform for a mask of every other dimension, whose two parts are slices.

    zuko looks for them by `nonzero` in each step, which makes Python wait for the device.
    """

    def __init__(self, features: int, context: int, mask: Tensor, **settings: Any) -> None:
        super().__init__(features, context, mask, **settings)
        self.first = 0 if mask[0] else 1
        """The first dimension that is kept."""

    def forward(self, c: Tensor | None = None) -> zuko.transforms.CouplingTransform:
        return AlternatingCoupling(partial(self.meta, c), self.first)


class AlternatingCoupling(zuko.transforms.CouplingTransform):
    """Keeps every other dimension, from `first` (0 or 1) on, and maps the others by `meta` of those."""

    def __init__(self, meta: Callable[[Tensor], Transform], first: int) -> None:
        Transform.__init__(self)
        self.meta = meta
        self.idx_a, self.idx_b = slice(first, None, 2), slice(1 - first, None, 2)


def start_at_identity(transform: zuko.lazy.LazyTransform) -> zuko.lazy.LazyTransform:
    """Set the parameters of zuko's univariate transforms to zero, where each is the identity, in place.

    They are the outputs of a network, whose last layer is set, or free parameters for one dimension without context.
    """
    for step in transform.transforms:
        last = step.hyper[-1] if hasattr(step, "hyper") else step.phi
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
    return transform

"""Distributions of vectors of codes, z = [e_{k_1}, …, e_{k_N}], where e_k is the k-th of K vectors of d dimensions."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

DRAWS_FOR_MOMENTS = 256


class PointMass(Distribution):
    """q(z|x) = δ: z has one value, whose codes are known. A probability of z, not a density.

    Shapes: batch (B,), event (N · d,).

    Args:
        value: z (B, N · d), with the gradient that draws are to have.
        codes: k (B, N).
        num_codes: K.
        features: What has been quantized, (B, N, d).
        shares: Of each code in a soft assignment of these, (B, N, K), through which the KL to `Codes` has a gradient
            for the features; None: it has none.
    """

    arg_constraints = {}  # noqa: RUF012 - as torch declares it
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self, value: Tensor, codes: Tensor, num_codes: int, features: Tensor, shares: Tensor | None = None
    ) -> None:
        self.value, self.codes, self.num_codes, self.features, self.shares = value, codes, num_codes, features, shares
        super().__init__(value.shape[:-1], value.shape[-1:], validate_args=False)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.value.expand(*sample_shape, *self.value.shape)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.rsample(sample_shape).detach()

    def log_prob(self, value: Tensor) -> Tensor:
        """0 at z, −∞ elsewhere."""
        return torch.where((value == self.value).all(-1), 0.0, -torch.inf).to(self.value)

    @property
    def mean(self) -> Tensor:
        return self.value

    @property
    def variance(self) -> Tensor:
        return torch.zeros_like(self.value)

    def perplexity(self) -> Tensor:
        """exp of the entropy of the codes' shares among all of the batch, (): the number of codes in use, 1 to K."""
        shares = counts_of(self.codes, self.num_codes) / self.codes.numel()
        return torch.special.entr(shares).sum().exp()


class Codes(Distribution):
    """p(z) = p(k) for z = [e_{k_1}, …, e_{k_N}], a probability.

    The mean and the variance are estimates from draws.

    Shapes: batch (), event (N · d,).

    Args:
        of_codes: p(k), event (N,).
        vectors: k (..., N) → e_k (..., N, d).
        nearest: z (..., N, d) → k (..., N), the code whose vector is the nearest.
        code_dim: d.
    """

    arg_constraints = {}  # noqa: RUF012 - as torch declares it
    support = constraints.real_vector

    def __init__(
        self,
        of_codes: Distribution,
        vectors: Callable[[Tensor], Tensor],
        nearest: Callable[[Tensor], Tensor],
        code_dim: int,
    ) -> None:
        self.of_codes, self.vectors, self.nearest, self.code_dim = of_codes, vectors, nearest, code_dim
        super().__init__(torch.Size(), torch.Size((of_codes.event_shape[0] * code_dim,)), validate_args=False)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            return self.vectors(self.of_codes.sample(torch.Size(sample_shape))).flatten(-2)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.of_codes.log_prob(self.nearest(value.unflatten(-1, (-1, self.code_dim))))

    @property
    def mean(self) -> Tensor:
        return self.sample((DRAWS_FOR_MOMENTS,)).mean(0)

    @property
    def variance(self) -> Tensor:
        return self.sample((DRAWS_FOR_MOMENTS,)).var(0)


def counts_of(codes: Tensor, num_codes: int) -> Tensor:
    """How often each code occurs, (K,), as float32."""
    codes = codes.flatten()
    ones = torch.ones(codes.shape, device=codes.device)
    return torch.zeros(num_codes, device=codes.device).scatter_add(0, codes, ones)

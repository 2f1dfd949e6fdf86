"""Vectors of one-hot groups, and their relaxation."""

import math
from collections.abc import Sequence
from itertools import product
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints, register_kl
from torch.nn.functional import one_hot

from aevb.distributions.categorical import draw_categories
from aevb.errors import ConfigError


class OneHotGroups(Distribution):
    """N independent categorical variables of K categories as one vector of N one-hot groups.

    log P(z) = Σ_n Σ_k z_nk log softmax(l_n)_k.

    Shapes: batch that of the logits without (N, K), event (N K,).

    Args:
        logits: l (..., N, K).
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.real_vector

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        *batch, groups, categories = logits.shape
        super().__init__(torch.Size(batch), torch.Size((groups * categories,)), validate_args=False)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> "OneHotGroups":
        return OneHotGroups(self.logits.expand(*batch_shape, *self.logits.shape[-2:]))

    @property
    def log_probs(self) -> Tensor:
        """log softmax(l), (..., N, K)."""
        return self.logits.log_softmax(-1)

    @property
    def mean(self) -> Tensor:
        return self.log_probs.exp().flatten(-2)

    @property
    def variance(self) -> Tensor:
        return self.mean * (1 - self.mean)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        chosen = draw_categories(self.logits, -1, sample_shape)
        return one_hot(chosen, self.logits.shape[-1]).flatten(-2).to(self.logits.dtype)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws, where no gradient is wanted.

        Raises:
            ConfigError: gradients are enabled; they do not pass through these draws.
        """
        if torch.is_grad_enabled():
            raise ConfigError(
                "draws of one-hot z have no gradient: use model.posterior.temperature for training by relaxed draws, "
                "or objective=score_function or wake_sleep"
            )
        return self.sample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        return (value.unflatten(-1, self.logits.shape[-2:]) * self.log_probs).sum((-2, -1))

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All K^N values, (K^N, N K), without a batch."""
        groups, categories = self.logits.shape[-2:]
        codes = torch.tensor([*product(range(categories), repeat=groups)], device=self.logits.device)
        return one_hot(codes, categories).flatten(-2).to(self.logits.dtype)


class RelaxedOneHotGroups(OneHotGroups):
    """`OneHotGroups` relaxed to the inside of N simplices, by concrete (Gumbel-softmax) distributions.

    z_n = softmax((l_n + g) / τ), g of standard Gumbel distributions, with the density

        p(z_n) = (K − 1)! τ^(K−1) Π_k [softmax(l_n)_k z_nk^(−τ−1)] / (Σ_k softmax(l_n)_k z_nk^(−τ))^K.

    argmax z_n has the probabilities softmax(l_n), whatever τ, and z tends to one-hot values as τ → 0.

    Sources: Maddison, Mnih & Teh (2017), arXiv 1611.00712; Jang, Gu & Poole (2017), arXiv 1611.01144.

    Args:
        logits: l (..., N, K).
        temperature: τ, ().
    """

    has_rsample = True

    def __init__(self, logits: Tensor, temperature: Tensor) -> None:
        super().__init__(logits)
        self.temperature = temperature

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> "RelaxedOneHotGroups":
        return RelaxedOneHotGroups(self.logits.expand(*batch_shape, *self.logits.shape[-2:]), self.temperature)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        waiting = torch.empty_like(self.logits.expand(*sample_shape, *self.logits.shape)).exponential_()
        gumbel = -waiting.clamp(min=torch.finfo(waiting.dtype).tiny).log()
        return ((self.logits + gumbel) / self.temperature).softmax(-1).flatten(-2)

    def log_prob(self, value: Tensor) -> Tensor:
        z = value.unflatten(-1, self.logits.shape[-2:])
        log_z = z.clamp(min=torch.finfo(z.dtype).tiny).log()
        categories = z.shape[-1]
        tilted = self.log_probs - self.temperature * log_z
        each = (tilted - log_z).sum(-1) - categories * tilted.logsumexp(-1)
        constant = math.lgamma(categories) + (categories - 1) * self.temperature.log()
        return (each + constant).sum(-1)


def kl_one_hot(q: OneHotGroups, p: OneHotGroups) -> Tensor:
    """Σ_n Σ_k q_nk (log q_nk − log p_nk), also of relaxed ones: of the categories that their argmax gives."""
    return (q.log_probs.exp() * (q.log_probs - p.log_probs)).sum((-2, -1))


register_kl(OneHotGroups, OneHotGroups)(kl_one_hot)

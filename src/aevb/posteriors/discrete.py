"""Posteriors of discrete values."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from aevb.distributions.one_hot import OneHotGroups, RelaxedOneHotGroups
from aevb.posteriors.base import Posterior
from aevb.types import AtLeastTwo, CountOrZero, Positive


class Concrete(Posterior):
    """Q(z|x) = Π_n Categorical(softmax(l_n(x))): one-hot groups of K values each, relaxed in training.

    l is linear in the encoder's features. In training z is a draw of the concrete distribution,

        z_n = softmax((l_n + g) / τ(t)),   τ(t) = max(τ_min, τ 2^(−t/H)),

    g Gumbel noise, t the training samples seen so far. In evaluation z is one-hot, and the ELBO that is reported is
    that of the discrete model; `estimators=[enumeration]` has its log p(x) exactly. In training, with
    `objective.kl=auto`, the KL is that of the categories (Jang et al.), with `sampled` that of the relaxed densities
    (Maddison et al.), for which the prior is relaxed by the same τ.

    Sources: Maddison, Mnih & Teh (2017), arXiv 1611.00712; Jang, Gu & Poole (2017), arXiv 1611.01144.

    Args:
        categories: K, of which latent_dim is a multiple: N K.
        temperature: τ at the start; None: no relaxation, for objectives without reparameterized draws.
        min_temperature: τ_min.
        halving_samples: H, training samples in which τ is halved; 0: it is constant.
    """

    support = "one-hot"

    def __init__(
        self,
        in_features: int,
        latent_dim: int,
        categories: AtLeastTwo = 10,
        temperature: Positive | None = 1.0,
        min_temperature: Positive = 0.5,
        halving_samples: CountOrZero = 1_000_000,
    ) -> None:
        super().__init__(in_features, latent_dim, num_parameters=latent_dim)
        if latent_dim % categories:
            raise ValueError(f"latent_dim must be a multiple of categories, {categories}, got {latent_dim}")
        self.categories, self.temperature = categories, temperature
        self.min_temperature, self.halving_samples = min_temperature, halving_samples
        # In a tuple the objective is no submodule.
        self._objective: tuple[Any, ...] = ()

    def follow(self, objective: Any) -> None:
        self._objective = (objective,)

    def current_temperature(self, like: Tensor) -> Tensor:
        """τ(t), ()."""
        start = torch.full((), self.temperature or 1.0, dtype=like.dtype, device=like.device)
        if not (self.halving_samples and self._objective):
            return start
        halvings = self._objective[0].samples_seen / self.halving_samples
        return (start * (-halvings).exp2()).clamp(min=self.min_temperature).to(like.dtype)

    def distribution(self, parameters: Tensor) -> Distribution:
        return self.relaxed(parameters.unflatten(-1, (-1, self.categories)))

    def relaxed(self, logits: Tensor) -> Distribution:
        """The distribution of groups with logits (..., N, K); the prior's is relaxed as this head is."""
        if self.training and self.temperature is not None:
            return RelaxedOneHotGroups(logits, self.current_temperature(logits))
        return OneHotGroups(logits)

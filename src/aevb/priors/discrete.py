"""Priors of discrete values."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from aevb.distributions.one_hot import OneHotGroups
from aevb.priors.base import Prior
from aevb.types import AtLeastTwo


class Categorical(Prior):
    """P(z) = Π_n Categorical(π_n) over N one-hot groups of K values each; π_nk = 1/K, or softmax of learned logits.

    In training it is relaxed where the posterior is, by the same temperature.

    Sources: Jang, Gu & Poole (2017), arXiv 1611.01144; Maddison, Mnih & Teh (2017), arXiv 1611.00712.

    Args:
        categories: K, of which latent_dim is a multiple: N K.
        learned: Learn π.
    """

    support = "one-hot"
    logits: Tensor

    def __init__(self, latent_dim: int, categories: AtLeastTwo = 10, learned: bool = False) -> None:
        super().__init__(latent_dim)
        if latent_dim % categories:
            raise ValueError(f"latent_dim must be a multiple of categories, {categories}, got {latent_dim}")
        logits = torch.zeros(latent_dim // categories, categories)
        if learned:
            self.logits = nn.Parameter(logits)
        else:
            self.register_buffer("logits", logits, persistent=False)
        self.categories = categories
        self._posterior: tuple[Any, ...] = ()

    def connect(self, p: Any, q: Any) -> None:
        """Take the posterior, which says the temperature.

        Raises:
            ValueError: it has other groups.
        """
        super().connect(p, q)
        if q.head.categories != self.categories:
            raise ValueError(
                f"prior Categorical has groups of {self.categories} categories, but posterior {type(q.head).__name__} "
                f"of {q.head.categories}"
            )
        self._posterior = (q.head,)

    def forward(self) -> Distribution:
        relaxed = self._posterior[0].relaxed if self._posterior else OneHotGroups
        distribution: Distribution = relaxed(self.logits)
        return distribution

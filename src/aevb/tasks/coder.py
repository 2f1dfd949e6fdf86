"""What coders of `Compress` have in common: a stack of bits by asymmetric numeral systems (ANS), and p(x|z) on it."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import constraints

from aevb.distributions.levels import Levels
from aevb.errors import extra
from aevb.likelihoods import Bernoulli
from aevb.vae import VAE, GenerativeModel

MAX_LEVELS = 2**16

Symbols = NDArray[np.int32]
Numbers = NDArray[np.float64]


class Coder(ABC):
    """Moves single datapoints to and from a stack of bits.

    Both directions compute with one datapoint at a time: the networks' outputs for it do not depend on others.

    Args:
        vae: The model.
        levels: The number of values that each value of x may take.
        c: Conditions (N, *condition_shape) of the datapoints, which both directions know; None: the model takes none.

    Raises:
        ConfigError: the extra is missing.
        ValueError: the likelihood cannot be coded.
    """

    words = 0
    """The most words of random bits that the first datapoint takes."""

    def __init__(self, vae: VAE, levels: int, c: Tensor | None = None) -> None:
        with extra("compress", "task=compress"):
            from constriction import stream
        self.vae, self.levels, self.c, self.stream = vae, levels, c, stream
        self.stack = stream.stack.AnsCoder
        self.categorical = stream.model.Categorical(perfect=False)
        per_unit = steps_per_unit(vae, levels)
        if not 2 <= levels <= MAX_LEVELS:
            raise ValueError(f"task=compress codes values of x of 2 to {MAX_LEVELS:,} levels, got {levels:,}")
        self.levels_of_x = torch.arange(levels).to(vae.p.head.layer.weight) / per_unit

    @abstractmethod
    def push(self, stack: Any, x: Symbols, index: int) -> None:
        """Encode datapoint `index`, (D,)."""

    @abstractmethod
    def pop(self, stack: Any, index: int) -> Symbols:
        """Decode datapoint `index`, which was encoded last."""

    def initial_bits(self) -> NDArray[np.uint32]:
        """Random words under those of the first datapoint: what it takes, and two to spare."""
        return np.random.default_rng(0).integers(2**32, size=self.words + 2, dtype=np.uint32)

    def given(self, index: int) -> VAE:
        """The model given the condition of datapoint `index`."""
        return self.vae if self.c is None else self.vae.given(self.c[index : index + 1], 1)

    def values(self, symbols: Symbols) -> Tensor:
        """The values of x that symbols stand for."""
        return self.levels_of_x[torch.from_numpy(symbols).long().to(self.levels_of_x.device)]

    @torch.no_grad()
    def p_of_x(self, p: GenerativeModel, z: Tensor) -> Numbers:
        """Probabilities of each level of every value of x given z (1, 1, latent_dim), (D, levels)."""
        each = p.likelihood(z).base_dist  # type: ignore[attr-defined]
        log_p = each.log_prob(self.levels_of_x.reshape(-1, *[1] * len(each.batch_shape)))
        return np.ascontiguousarray(log_p.flatten(1).double().exp().cpu().numpy().T)


def steps_per_unit(vae: VAE, levels: int) -> int:
    """Levels between the values 0 and 1 of x, 1 for counts.

    Raises:
        ValueError: the likelihood is not discrete, or is no product over the values of x.
    """
    head = vae.p.head
    if head.values_per_step is None:
        if isinstance(head, Bernoulli):
            return 1
        if isinstance(head.support, Levels):
            return levels - 1
        if head.support is constraints.nonnegative_integer and head.discrete:
            return 1
    raise ValueError(
        "task=compress needs a discrete p(x|z) that is a product over the values of x: Bernoulli, of black and white, "
        f"levels (categorical, discretized_logistic) or counts (poisson, negative_binomial), got {type(head).__name__}"
    )

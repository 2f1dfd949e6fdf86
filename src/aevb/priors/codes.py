"""Prior over discrete codes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent

from aevb.distributions.codes import Codes as CodesDistribution
from aevb.distributions.sequence import Autoregressive
from aevb.networks.causal import CausalTransformer
from aevb.networks.quantizers import Quantizer
from aevb.priors.base import Prior
from aevb.types import Size


class Codes(Prior):
    """p(z) = p(k) over z = [e_{k_1}, …, e_{k_N}]: p(k) = K^−N, or Π_n p(k_n | k_<n), which is learned.

    The vectors e_k are those of a quantizer, which the posterior `Quantized` uses, too.

    Sources: van den Oord, Vinyals & Kavukcuoglu (2017), arXiv 1711.00937, section 3.3, where p(k) is trained after the
    rest, and constant before; here it is trained with it, on the codes, through which it has no gradient for the rest.

    Args:
        latent_dim: N d.
        code_dim: d.
        quantizer: (code_dim) → the vectors.
        network: (num_codes, steps) → network of p(k_n | k_<n); None: p(k) = K^−N.

    Raises:
        ValueError: latent_dim is no multiple of code_dim.
    """

    support = "among codes"
    start: Tensor
    equal: Tensor

    def __init__(
        self,
        latent_dim: Size,
        code_dim: Size,
        quantizer: Callable[..., Quantizer],
        network: Callable[..., CausalTransformer] | None = None,
    ) -> None:
        super().__init__(latent_dim)
        if latent_dim % code_dim:
            raise ValueError(f"latent_dim must be a multiple of code_dim, {code_dim}, got {latent_dim}")
        self.code_dim, self.num = code_dim, latent_dim // code_dim
        self.quantizer = quantizer(code_dim)
        num_codes = self.quantizer.num_codes
        self.network = None if network is None else network(num_codes, self.num)
        self.register_buffer("start", torch.tensor(num_codes), persistent=False)
        self.register_buffer("equal", torch.zeros(self.num, num_codes), persistent=False)

    def forward(self) -> Distribution:
        return CodesDistribution(self.of_codes(), self.quantizer.vectors, self.quantizer.nearest, self.code_dim)

    def of_codes(self) -> Distribution:
        """p(k), event (N,)."""
        if self.network is None:
            return Independent(Categorical(logits=self.equal), 1)
        return Autoregressive(self.conditionals, (), self.num, self.start)

    def conditionals(self, before: Tensor, first: int, state: Any) -> tuple[Distribution, Any]:
        """p(k_n | k_<n) of consecutive codes, see `aevb.distributions.sequence.Conditionals`."""
        assert self.network is not None
        logits, state = self.network(before, first, state)
        return Categorical(logits=logits.float()), state

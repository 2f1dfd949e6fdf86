"""Quantizers, which replace vectors by the nearest of K vectors, whose number is the code k."""

import math
from abc import abstractmethod

import torch
from torch import Tensor

from aevb.collectives import sums_over_processes
from aevb.distributions.codes import counts_of
from aevb.networks.base import Part
from aevb.types import AtLeastTwo, Fraction, Levels, Share, Size

SMOOTHING = 1e-5
"""ε, without which the counts of codes that are not in use may be 0."""


class Quantizer(Part):
    """Base class: a set of K vectors e_k of d dimensions.

    Args:
        code_dim: d.
        num_codes: K.
    """

    def __init__(self, code_dim: Size, num_codes: Size) -> None:
        super().__init__()
        self.code_dim, self.num_codes = code_dim, num_codes

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest vectors to h (..., d), (..., d), and their codes, (...).

        The gradient of a vector is that of h (straight through).
        """
        h = self.squashed(h)
        codes = self.nearest(h)
        return self.vectors(codes) + (h - h.detach()), codes

    def squashed(self, h: Tensor) -> Tensor:
        """h (..., d) in the space of the vectors: what is replaced by the nearest of them."""
        return h

    def shares(self, h: Tensor, temperature: float) -> Tensor:
        """s_k ∝ exp(−‖h − e_k‖² / temperature), (..., K), with the gradient for h (..., d)."""
        h = self.squashed(h)
        vectors = self.vectors(torch.arange(self.num_codes, device=h.device)).to(h)
        return ((2 * h @ vectors.T - vectors.square().sum(-1)) / temperature).softmax(-1)

    @abstractmethod
    def vectors(self, codes: Tensor) -> Tensor:
        """e_k: k (...) → (..., d)."""

    @abstractmethod
    def nearest(self, h: Tensor) -> Tensor:
        """k of the nearest vectors: h (..., d) → (...)."""

    def distance(self, h: Tensor, codes: Tensor) -> Tensor | None:
        """‖h − e_k‖² (...), with the gradient for h alone; None where h is not to be drawn to its vector."""
        return None

    def update(self, h: Tensor, codes: Tensor) -> None:
        """Let the vectors follow what is quantized, h (..., d), whose codes are (...); once in each training step."""


class EMACodebook(Quantizer):
    """Vectors that are moving averages of what is quantized to them, a k-means that forgets.

        n_k ← γ n_k + (1 − γ) |{h: k(h) = k}|,   m_k ← γ m_k + (1 − γ) Σ_{h: k(h) = k} h,   e_k = m_k / n_k

    The minibatches of all processes of a run count together. Where n_k falls below a share of its fair part, which is
    what a minibatch has to quantize, divided by K, it is set to that, and e_k to a draw of h; so the first minibatch
    initializes the codebook. Counts are smoothed by ε = 10⁻⁵ where they divide.

    Sources: van den Oord, Vinyals & Kavukcuoglu (2017), arXiv 1711.00937, appendix A.1; restarts: Dhariwal et al.
    (2020), arXiv 2005.00341, section 3.1.

    Args:
        code_dim: d.
        num_codes: K.
        decay: γ.
        restart_below: That share; 0: no restarts.
    """

    codebook: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(
        self, code_dim: Size, num_codes: AtLeastTwo = 128, decay: Fraction = 0.99, restart_below: Share = 0.03
    ) -> None:
        super().__init__(code_dim, num_codes)
        self.decay, self.restart_below = decay, restart_below
        self.register_buffer("codebook", torch.randn(num_codes, code_dim))
        self.register_buffer("counts", torch.zeros(num_codes))
        self.register_buffer("sums", torch.zeros(num_codes, code_dim))

    def vectors(self, codes: Tensor) -> Tensor:
        return self.codebook[codes]

    @torch.no_grad()
    def nearest(self, h: Tensor) -> Tensor:
        half_norms = 0.5 * self.codebook.square().sum(-1)
        return (half_norms - h.to(half_norms) @ self.codebook.T).argmin(-1)

    def distance(self, h: Tensor, codes: Tensor) -> Tensor | None:
        return (h - self.vectors(codes)).square().sum(-1)

    @torch.no_grad()
    def update(self, h: Tensor, codes: Tensor) -> None:
        h, codes = h.reshape(-1, self.code_dim), codes.flatten()
        one_hot = (codes.unsqueeze(-1) == torch.arange(self.num_codes, device=codes.device)).to(h.dtype)
        drawn = h[torch.randint(len(h), (self.num_codes,), device=h.device)]
        counts, sums, drawn = sums_over_processes([counts_of(codes, self.num_codes), one_hot.T @ h], of_first=[drawn])
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        least = self.restart_below * counts.sum() / self.num_codes
        unused = (self.counts < least).unsqueeze(-1)
        self.counts.clamp_(min=least)
        self.sums.copy_(torch.where(unused, drawn * least, self.sums))
        total = self.counts.sum()
        smoothed = (self.counts + SMOOTHING) / (total + self.num_codes * SMOOTHING) * total
        self.codebook.copy_(torch.where(unused, drawn, self.sums / smoothed.unsqueeze(-1)))


class FSQ(Quantizer):
    """Finite scalar quantization: dimension i of h is squashed to an interval and rounded to one of L_i values.

        e_i = round(w_i tanh(h_i + artanh(o_i / w_i)) − o_i) / ⌊L_i / 2⌋,   w_i = ½ (L_i − 1) (1 + 10⁻³)

    with o_i = ½ for even L_i and 0 for odd ones; rounding has the gradient 1. K = Π_i L_i. No vector is learned.

    Source: Mentzer et al. (2024), arXiv 2309.15505, section 3.

    Args:
        code_dim: d.
        levels: L_1, …, L_d.

    Raises:
        ValueError: there are not as many levels as dimensions.
    """

    levels: Tensor
    place: Tensor

    def __init__(self, code_dim: Size, levels: Levels = (8, 6, 5)) -> None:
        if len(levels) != code_dim:
            raise ValueError(
                f"levels must have an entry for each of code_dim={code_dim} dimensions, got {list(levels)}"
            )
        super().__init__(code_dim, math.prod(levels))
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        place = torch.tensor([math.prod(levels[:dimension]) for dimension in range(code_dim)])
        self.register_buffer("place", place, persistent=False)  # of each dimension's value in k

    def squashed(self, h: Tensor) -> Tensor:
        half = 0.5 * (self.levels - 1) * (1 + 1e-3)
        offset = torch.where(self.levels % 2 == 0, 0.5, 0.0)
        return (half * torch.tanh(h + torch.atanh(offset / half)) - offset) / (self.levels // 2)

    def vectors(self, codes: Tensor) -> Tensor:
        values = codes.unsqueeze(-1) // self.place % self.levels
        return values / (self.levels // 2) - 1

    @torch.no_grad()
    def nearest(self, h: Tensor) -> Tensor:
        values = (h * (self.levels // 2)).round().long() + self.levels // 2
        return (values.clamp(min=0).minimum(self.levels - 1) * self.place).sum(-1)

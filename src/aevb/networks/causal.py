"""A network over sequences in which each position sees those before it."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aevb.networks.base import Part
from aevb.types import Count, Size

Past = tuple[Tensor, Tensor]
"""Keys and values of the positions before, (N, heads, n, width / heads) each."""


class CausalBlock(nn.Module):
    """h + attention(norm(h)), then h + mlp(norm(h)), where a position attends to itself and to those before it.

    Args:
        width: Features of a position.
        heads: Of the attention; they divide the width.
    """

    def __init__(self, width: Size, heads: Count) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, h: Tensor, past: Past | None = None) -> tuple[Tensor, Past]:
        """Features (N, n, width) of n positions, given those before them; and what later positions need of all."""
        q, k, v = self.queries_keys_values(self.norm(h)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        seen = None if past is None else torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=h.device).tril(
            k.shape[2] - q.shape[2]
        )  # fmt: skip
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, is_causal=past is None)
        h = h + self.attended(attended.transpose(1, 2).flatten(2))
        return h + self.mlp(h), (k, v)


class CausalTransformer(Part):
    """Logits of k_n given k_<n, for codes k_1, …, k_N of K values each.

    Sources: Vaswani et al. (2017), arXiv 1706.03762; the order of its layers: Radford et al. (2019).

    Args:
        num_codes: K; the code K stands before the first.
        steps: N.
        width: Features of a position.
        depth: Blocks.
        heads: Of each attention.

    Raises:
        ValueError: heads do not divide the width.
    """

    def __init__(self, num_codes: Size, steps: Size, width: Size = 128, depth: Count = 2, heads: Count = 4) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width must be a multiple of heads, {heads}, got {width}")
        self.embedding = nn.Embedding(num_codes + 1, width)
        self.position = nn.Parameter(torch.empty(steps, width))
        for weight in (self.embedding.weight, self.position):
            nn.init.normal_(weight, std=width**-0.5)
        self.blocks = nn.ModuleList(CausalBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.layer = nn.Linear(width, num_codes)

    def forward(self, before: Tensor, first: int = 0, state: Any = None) -> tuple[Tensor, list[Past]]:
        """Logits of n consecutive codes.

        Args:
            before: The code before each, (..., n).
            first: Position of the first of them, from 0.
            state: After the positions before; None before the first.

        Returns:
            Logits (..., n, num_codes), and the state after these positions.
        """
        n = before.shape[-1]
        h = self.embedding(before.reshape(-1, n)) + self.position[first : first + n]
        after = []
        for block, past in zip(self.blocks, state or [None] * len(self.blocks), strict=True):
            h, kept = block(h, past)
            after.append(kept)
        return self.layer(self.norm(h)).view(*before.shape, -1), after

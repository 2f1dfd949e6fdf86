"""Likelihood of sequences of tokens, whole numbers from 0 to V − 1."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, constraints

from aevb.distributions.sequence import Autoregressive
from aevb.likelihoods.base import Likelihood
from aevb.types import AtLeastTwo, Count, Size


class Tokens(Autoregressive):
    """p(x) = Π_t p(x_t | x_<t) of tokens x_t, as floats."""

    has_rsample = False

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return super().sample(sample_shape).to(torch.float32)

    @property
    def mean(self) -> Tensor:
        """Where tokens have no mean: the most probable token of each step, given those before."""
        with torch.no_grad():
            return self._draw((), lambda p: p.logits.argmax(-1))[0].to(torch.float32)  # type: ignore[attr-defined]


class RecurrentTokens(Likelihood):
    """p(x|z) = Π_u Π_t p(x_ut | x_u,<t, c_u), x_ut the t-th token of bar u, by a GRU that starts anew at each bar.

    c_1, …, c_U are the states of another GRU, the conductor, whose input is z; of one bar, c_1 = z. What bars have in
    common, such as a repetition, thus has to be in z.

    Source: Roberts et al. (2018), arXiv 1803.05428, section 3.2; with one bar its flat decoder (with GRUs).

    Shapes: h (S, B, features) → batch (S, B), event (T,).

    Args:
        in_shape: (features,).
        data_shape: (T,).
        vocabulary: V.
        width: Units of each GRU.
        bars: U, which divides T.
        embedding: Dimensions of the vector of a token.

    Raises:
        ValueError: data_shape has other than one dimension, or bars do not divide it.
    """

    discrete = True
    start: Tensor

    def __init__(
        self,
        in_shape: Sequence[int],
        data_shape: Sequence[int],
        vocabulary: AtLeastTwo,
        width: Size = 256,
        bars: Count = 1,
        embedding: Size = 32,
    ) -> None:
        nn.Module.__init__(self)
        if len(data_shape) != 1 or data_shape[0] % bars:
            raise ValueError(f"needs sequences of tokens of {bars} bars of equal length, got {list(data_shape)}")
        self.data_shape, self.vocabulary, self.bars = tuple(data_shape), vocabulary, bars
        self.support = constraints.integer_interval(0, vocabulary - 1)
        self.register_buffer("start", torch.tensor(vocabulary), persistent=False)
        self.conductor = None if bars == 1 else nn.GRU(in_shape[0], width, batch_first=True)
        context = in_shape[0] if bars == 1 else width
        self.initial = nn.Linear(context, width)
        self.embedding = nn.Embedding(vocabulary + 1, embedding)
        self.gru = nn.GRU(embedding + context, width, batch_first=True)
        self.layer = nn.Linear(width, vocabulary)

    def forward(self, h: Tensor) -> Distribution:
        contexts = self.contexts(h.to(self.layer.weight.dtype))

        def network(before: Tensor, first: int, state: Any) -> tuple[Distribution, Any]:
            return self.steps(contexts, before, first, state)

        return Tokens(network, h.shape[:-1], self.data_shape[0], self.start)

    def contexts(self, h: Tensor) -> Tensor:
        """c_1, …, c_U, (S, B, U, ·)."""
        h = h.unsqueeze(-2)
        if self.conductor is None:
            return h
        repeated = h.expand(*h.shape[:-2], self.bars, h.shape[-1])
        states: Tensor = self.conductor(repeated.flatten(0, -3))[0]
        return states.view(*repeated.shape[:-1], -1)

    def steps(self, contexts: Tensor, before: Tensor, first: int, state: Any) -> tuple[Distribution, Any]:
        """p(x_t | x_<t, z) of all steps, or of one.

        Args:
            contexts: c_1, …, c_U, (S, B, U, ·).
            before: The token before each of these steps, (..., B, steps).
            first: The first of them, from 0.
            state: Of the GRU after the steps before.

        Returns:
            The distributions, batch (S, B, steps), and the state after these steps.
        """
        bar, steps = self.data_shape[0] // self.bars, before.shape[-1]
        begins = torch.arange(first, first + steps, device=before.device) % bar == 0
        contexts = contexts if steps == self.data_shape[0] else contexts.narrow(-2, first // bar, 1)
        batch = torch.broadcast_shapes(contexts.shape[:-2], before.shape[:-1])
        contexts = contexts.expand(*batch, *contexts.shape[-2:])
        before = torch.where(begins, self.vocabulary, before.long()).expand(*batch, steps)
        tokens = self.embedding(before.unflatten(-1, (contexts.shape[-2], -1)))
        inputs = torch.cat([tokens, contexts.unsqueeze(-2).expand(*tokens.shape[:-1], contexts.shape[-1])], dim=-1)
        if first % bar == 0:
            state = torch.tanh(self.initial(contexts)).flatten(0, -2).unsqueeze(0)
        hidden, state = self.gru(inputs.flatten(0, -3), state)
        logits = self.layer(hidden).view(*before.shape, self.vocabulary)
        return self.distribution(logits.to(torch.promote_types(logits.dtype, torch.float32))), state

    def distribution(self, logits: Tensor) -> Distribution:
        """The distribution of each step."""
        return Categorical(logits=logits)

"""Networks over the steps of a sequence."""

from typing import Literal

import torch
from torch import Tensor, nn

from aevb.networks.base import Backbone
from aevb.types import AtLeastTwo, Shape, Size

Reads = Literal["step", "future", "all"]


class EachStep(Backbone):
    """A decoder of each z_t, z = [z_1, …, z_T].

    Shapes: z (..., T · d) → (..., T, *out_shape), `out_shape` that of one step's features.

    Args:
        decoder: Of one step, (..., d) → (..., *out_shape).
        steps: T.
    """

    def __init__(self, decoder: Backbone, steps: int) -> None:
        super().__init__()
        self.decoder, self.steps = decoder, steps
        self.out_shape = decoder.out_shape

    def forward(self, z: Tensor) -> Tensor:
        features: Tensor = self.decoder(z.unflatten(-1, (self.steps, -1)))
        return features


class Context(nn.Module):
    """What q(z_t|·) reads of x at each step: the features of the step alone, or states of recurrent networks over them.

    A network that runs backwards starts at the last step that exists, so that padding is not read.

    Shapes: h (B, T, in_features) → (B, T, out_features).

    Args:
        in_features: Of each step.
        width: Units of each recurrent network, a GRU.
        reads: x_t (`step`: no network), x_{t:T} (`future`), or x_{1:T} (`all`: a network in either direction).
    """

    def __init__(self, in_features: int, width: int, reads: Reads) -> None:
        super().__init__()
        self.future = None if reads == "step" else nn.GRU(in_features, width, batch_first=True)
        self.past = nn.GRU(in_features, width, batch_first=True) if reads == "all" else None
        self.out_features = in_features if reads == "step" else width * (2 if reads == "all" else 1)

    def forward(self, h: Tensor, lengths: Tensor | None = None) -> Tensor:
        if self.future is None:
            return h
        states: Tensor = backwards(self.future(backwards(h, lengths))[0], lengths)
        return states if self.past is None else torch.cat([states, self.past(h)[0]], dim=-1)


class TokenEncoder(Backbone):
    """Backbone of q(z|x) over tokens: the last states of a GRU in either direction.

    Source: Roberts et al. (2018), arXiv 1803.05428, section 3.1 (with GRUs).

    Shapes: x (..., T), whole numbers from 0 to vocabulary − 1 → (..., 2 · width).

    Args:
        data_shape: (T,).
        vocabulary: The number of different tokens.
        width: Units in each direction.
        embedding: Dimensions of the vector of a token.
    """

    def __init__(self, data_shape: Shape, vocabulary: AtLeastTwo, width: Size = 256, embedding: Size = 32) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.gru = nn.GRU(embedding, width, batch_first=True, bidirectional=True)
        self.out_shape = (2 * width,)

    def forward(self, x: Tensor) -> Tensor:
        last: Tensor = self.gru(self.embedding(x.long().flatten(0, -2)))[1]
        return torch.cat([last[0], last[1]], dim=-1).view(*x.shape[:-1], -1)


def backwards(h: Tensor, lengths: Tensor | None = None) -> Tensor:
    """The steps of h (B, T, F) that exist in reverse order, the padding where it is."""
    if lengths is None:
        return h.flip(1)
    step, length = torch.arange(h.shape[1], device=h.device), lengths.long().unsqueeze(-1)
    index = torch.where(step < length, length - 1 - step, step)
    return h.gather(1, index.unsqueeze(-1).expand_as(h))

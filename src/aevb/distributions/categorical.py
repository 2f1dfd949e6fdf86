"""Draws of categories."""

from collections.abc import Sequence

import torch
from torch import Tensor


@torch.no_grad()
def draw_categories(logits: Tensor, axis: int, sample_shape: Sequence[int] = ()) -> Tensor:
    """Draws of k with probability softmax(logits)_k: the argmax of logits + Gumbel noise, whatever the axis of k.

    `torch.multinomial`, by which torch.distributions draws, checks its weights, for which Python waits for the device.

    Shapes: logits (..., K, ...) → (*sample_shape, ..., ...).

    Args:
        logits: Unnormalized log-probabilities.
        axis: Of the categories, counted from the end, hence negative.
        sample_shape: Of the draws.
    """
    noise = logits.new_empty((*sample_shape, *logits.shape)).exponential_()
    return (logits - noise.log()).argmax(axis)

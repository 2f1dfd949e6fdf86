"""Likelihoods of sequences x = [x_1, …, x_T], made of the likelihood of one step."""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from aevb.distributions.sequence import Autoregressive, Steps
from aevb.likelihoods.base import Likelihood
from aevb.networks import Backbone
from aevb.types import Size


class OverSteps(Likelihood):
    """Base class: a likelihood of sequences whose steps have a head of their own, shared by all steps.

    It takes the lengths of sequences as the condition c, (B,).

    Args:
        head: p(x_t|·), of features of one step.
        data_shape: (T, *step_shape).
    """

    condition_shape = ()

    def __init__(self, head: Likelihood, data_shape: Sequence[int]) -> None:
        nn.Module.__init__(self)
        self.head, self.data_shape = head, tuple(data_shape)
        self.support, self.discrete = head.support, head.discrete
        self.values_per_step = math.prod(self.data_shape[1:])

    @property
    def layer(self) -> nn.Linear | nn.Conv2d:  # type: ignore[override]
        """The last layer."""
        return self.head.layer

    @property
    def bounded(self) -> Any:
        """Of the head."""
        return getattr(self.head, "bounded", False)

    def check(self, x: Tensor) -> None:
        self.head.check(x)

    def num_values(self, count: int, c: Tensor | None = None) -> Tensor | int:
        return super().num_values(count) if c is None else c.sum() * math.prod(self.data_shape[1:])

    def adapt_to(self, lowest: float, highest: float) -> None:
        self.head.adapt_to(lowest, highest)

    def distribution(self, *parameters: Tensor) -> Distribution:
        """The distributions of the values of a step, by its head."""
        return self.head.distribution(*parameters)

    @abstractmethod
    def steps(self, h: Tensor, x: Tensor, state: Any = None) -> tuple[Distribution, Any]:
        """p(x_t | x_<t, z) of k consecutive steps.

        Args:
            h: Features of these steps, (S, B, k, *in_shape).
            x: The steps before each, x_{t−1}, (..., B, k, *step_shape); zeros before the first.
            state: After the steps before; None before the first.

        Returns:
            The distributions, batch (S, B, k), and the state after these steps.
        """


class PerStep(OverSteps):
    """p(x|z) = Π_t p(x_t | h_t), h_t features of step t.

    Shapes: h (S, B, T, *in_shape) → batch (S, B), event `data_shape`.

    Args:
        in_shape: Shape of the features of one step.
        data_shape: (T, *step_shape).
        head: (in_shape, step_shape) → likelihood of one step.
    """

    def __init__(self, in_shape: Sequence[int], data_shape: Sequence[int], head: Callable[..., Likelihood]) -> None:
        super().__init__(head(in_shape, data_shape[1:]), data_shape)

    def forward(self, h: Tensor, c: Tensor | None = None) -> Distribution:
        return Steps(self.head(h), c)

    def steps(self, h: Tensor, x: Tensor, state: Any = None) -> tuple[Distribution, Any]:
        return self.head(h), None


class Recurrent(OverSteps):
    """p(x|z) = Π_t p(x_t | s_t), s_t = GRU(s_{t−1}, [x_{t−1}, z_t]), s_t decoded as the features of step t.

    Source: Bayer & Osendorfer, Learning stochastic recurrent networks (2014), arXiv 1411.7610 (with a GRU).

    Shapes: z (S, B, T, step_dim) → batch (S, B), event `data_shape`.

    Args:
        in_shape: (step_dim,).
        data_shape: (T, *step_shape).
        decoder: (width, step_shape) → decoder of s_t.
        head: (features of s_t, step_shape) → likelihood of one step.
        width: Units of s_t.
    """

    start: Tensor

    def __init__(
        self,
        in_shape: Sequence[int],
        data_shape: Sequence[int],
        decoder: Callable[..., Backbone],
        head: Callable[..., Likelihood],
        width: Size = 200,
    ) -> None:
        step_shape = tuple(data_shape[1:])
        backbone = decoder(width, step_shape)
        super().__init__(head(backbone.out_shape, step_shape), data_shape)
        self.decoder, self.width = backbone, width
        self.register_buffer("start", torch.zeros(step_shape), persistent=False)
        self.gru = nn.GRU(self.start.numel() + in_shape[0], width, batch_first=True)

    def forward(self, h: Tensor, c: Tensor | None = None) -> Distribution:
        z = h.to(self.layer.weight.dtype)

        def network(x: Tensor, first: int, state: Tensor | None) -> tuple[Distribution, Tensor]:
            return self.steps(z.narrow(-2, first, x.shape[-1 - self.start.ndim]), x, state)

        return Autoregressive(network, z.shape[:-2], self.data_shape[0], self.start, c)

    def steps(self, h: Tensor, x: Tensor, state: Any = None) -> tuple[Distribution, Any]:
        x = x.flatten(x.ndim - self.start.ndim)
        inputs = torch.cat([x.expand(*h.shape[:-1], x.shape[-1]), h], dim=-1)
        states, state = self.gru(inputs.flatten(0, -3), state)
        return self.head(self.decoder(states.view(*inputs.shape[:-1], self.width))), state

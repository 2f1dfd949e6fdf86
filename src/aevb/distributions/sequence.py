"""Distributions of sequences of T steps, of which the first n exist and the others are padding."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, constraints

from aevb.distributions.gaussian import Normal
from aevb.errors import ConfigError

Conditionals = Callable[[Tensor, int, Any], tuple[Distribution, Any]]
"""(x_{t−1} of k consecutive steps t, (..., k, *step_shape); the first of these steps; the state before it) → (their
p(x_t | x_<t), batch (..., k) and event step_shape; the state after them). Before the first step the state is None."""


class Steps(Distribution):
    """p(x) = Π_{t ≤ n} p(x_t): independent steps.

    Padding, the steps after n, is no random variable: it is drawn as 0, and neither its values nor the parameters of
    its distributions enter a density, a KL or a gradient.

    Shapes: batch (..., B), event (T, *step_shape), or (T · d,) where `flat`, for steps (d,).

    Args:
        each: The distributions of the steps, batch (..., T), event step_shape.
        lengths: n of each datapoint, (B,); None: T.
        flat: Whether an event is one vector.
    """

    arg_constraints = {}  # noqa: RUF012 - as torch declares it
    support = constraints.real

    def __init__(self, each: Distribution, lengths: Tensor | None = None, flat: bool = False) -> None:
        *batch, steps = each.batch_shape
        self._shape(batch, steps, each.event_shape, lengths, flat)
        self.start = torch.zeros(())
        shape = torch.Size((*self.batch_shape, steps))
        self.each = each if each.batch_shape == shape else each.expand(shape)

    def _shape(
        self, batch: Sequence[int], steps: int, step_shape: Sequence[int], lengths: Tensor | None, flat: bool
    ) -> None:
        self.steps, self.step_shape, self.exists = steps, tuple(step_shape), None
        if lengths is not None:
            self.exists = torch.arange(steps, device=lengths.device) < lengths.unsqueeze(-1)
            batch = torch.broadcast_shapes(batch, lengths.shape)
        event = torch.Size((steps, *step_shape))
        super().__init__(torch.Size(batch), torch.Size((event.numel(),)) if flat else event, validate_args=False)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        return bool(self.each.has_rsample)

    def split(self, x: Tensor) -> Tensor:
        """x (..., *event_shape) by steps, (..., T, *step_shape)."""
        return x.reshape(*x.shape[: x.ndim - len(self.event_shape)], self.steps, *self.step_shape)

    def conditionals(self, x: Tensor) -> Distribution:
        """p(x_t | x_<t) of every step at x (..., *event_shape): batch (..., T), event step_shape."""
        return self.each

    def step(self, previous: Tensor, step: int, state: Any = None) -> tuple[Distribution, Any]:
        """p(x_t | x_<t) of one step t, counted from 0, for x_{t−1} (..., 1, *step_shape) and the state before t.

        Returns:
            The distribution, batch (..., 1), and the state after t. Of independent steps, these are Gaussians.
        """
        gaussian: Any = getattr(self.each, "base_dist", None)
        one = Normal(gaussian.loc.narrow(-2, step, 1), gaussian.scale.narrow(-2, step, 1), validate_args=False)
        return Independent(one, 1, validate_args=False), None

    def log_prob_of_steps(self, value: Tensor) -> Tensor:
        """log p(x_t | x_<t) in nats, (..., T); 0 for padding."""
        return self.masked(self.conditionals(value).log_prob(self.split(value)))

    def log_prob(self, value: Tensor) -> Tensor:
        return self.log_prob_of_steps(value).sum(-1)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.joined(self.each.rsample(torch.Size(sample_shape)))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            return self.joined(self.each.sample(torch.Size(sample_shape)))

    @property
    def mean(self) -> Tensor:
        return self.joined(self.each.mean)

    def masked(self, values: Tensor) -> Tensor:
        """Values of steps, (..., T), with 0 for padding."""
        return values if self.exists is None else torch.where(self.exists, values, 0.0)

    def joined(self, x: Tensor) -> Tensor:
        """Steps (..., T, *step_shape) as (..., *event_shape), with 0 for padding."""
        if self.exists is not None:
            x = torch.where(self.exists.view(*self.exists.shape, *(1 for _ in self.step_shape)), x, 0.0)
        return x.reshape(*x.shape[: x.ndim - 1 - len(self.step_shape)], *self.event_shape)


class Autoregressive(Steps):
    """p(x) = Π_{t ≤ n} p(x_t | x_<t). A density takes one pass over all steps, a draw T passes over one step each.

    A Markov chain is the case without a state, where p(x_t | x_<t) depends on x_{t−1} alone.

    Args:
        network: The conditionals of consecutive steps, see `Conditionals`.
        batch_shape: Of the distribution, (..., B).
        steps: T.
        start: x_0, what the first step is conditioned on; of step_shape.
        lengths: See `Steps`.
        flat: See there.
    """

    has_rsample = True

    def __init__(
        self,
        network: Conditionals,
        batch_shape: Sequence[int],
        steps: int,
        start: Tensor,
        lengths: Tensor | None = None,
        flat: bool = False,
    ) -> None:
        self.network, self.start = network, start
        self._shape(batch_shape, steps, start.shape, lengths, flat)

    def conditionals(self, x: Tensor) -> Distribution:
        x = self.split(x)
        at = x.ndim - 1 - len(self.step_shape)
        first = self.start.expand_as(x.narrow(at, 0, 1))
        return self.network(torch.cat([first, x.narrow(at, 0, self.steps - 1)], dim=at), 0, None)[0]

    def step(self, previous: Tensor, step: int, state: Any = None) -> tuple[Distribution, Any]:
        return self.network(previous, step, state)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self._draw(sample_shape, lambda p: p.rsample())[0]

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            return self._draw(sample_shape, lambda p: p.sample())[0]

    @property
    def mean(self) -> Tensor:
        """E[x_t | x_<t] of every step along one draw of x; the mean of x itself has no closed form."""
        with torch.no_grad():
            return self._draw((), lambda p: p.sample())[1]

    def _draw(self, sample_shape: Sequence[int], draw: Callable[[Distribution], Tensor]) -> tuple[Tensor, Tensor]:
        """A draw, and the mean of each step given those before."""
        shape = (*sample_shape, *self.batch_shape, 1, *self.step_shape)
        x, state, draws, means = self.start.expand(shape), None, [], []
        for step in range(self.steps):
            conditional, state = self.step(x, step, state)
            x = draw(conditional)
            draws.append(x)
            means.append(conditional.mean)
        at = x.ndim - 1 - len(self.step_shape)
        return self.joined(torch.cat(draws, dim=at)), self.joined(torch.cat(means, dim=at))


def require_no_padding(distribution: Distribution, what: str, instead: str) -> None:
    """Check that a distribution of z is a density of all its dimensions: of sequences with lengths it is none.

    Args:
        distribution: Of z.
        what: That needs it.
        instead: What does not, for the message.

    Raises:
        ConfigError: it is of sequences with lengths.
    """
    if isinstance(distribution, Steps) and distribution.exists is not None:
        raise ConfigError(
            f"{what} needs a density of all dimensions of z, and those of steps after the end of a sequence have none; "
            f"use {instead}"
        )

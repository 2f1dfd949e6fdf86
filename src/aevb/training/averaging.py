"""An exponential moving average of the weights, which is evaluated in place of the last ones."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

SLOT = "average"
"""In the optimizer's state of a parameter: thus the average is part of a step, and of a checkpoint."""


def averaging(decay: float) -> Callable[..., None]:
    """A hook that updates the averages, θ̄ ← decay · θ̄ + (1 − decay) · θ, after each step of an optimizer.

    The average of a parameter begins at its value after its first step.
    """
    update = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def after_step(optimizer: Optimizer, *arguments: Any) -> None:
        # Many optimizers make their state of a weight at its first gradient, if there is none: theirs must come first.
        weights = [w for group in optimizer.param_groups for w in group["params"] if w.grad is not None]
        for weight in weights:
            if SLOT not in optimizer.state[weight]:
                optimizer.state[weight][SLOT] = weight.detach().clone()
        update([optimizer.state[weight][SLOT] for weight in weights], weights, 0)

    return after_step


class AveragedWeights:
    """Puts the averages of a module's weights in their place, and the weights back.

    Args:
        module: Whose weights are averaged.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.optimizers: Sequence[Optimizer] = ()
        """Their states hold the averages; none: there are none."""
        self.last: dict[str, Tensor] = {}
        """The last weights of training while the averages are in their place."""

    def averages(self) -> dict[str, Tensor]:
        """The averages by the names of the parameters, once there are some."""
        state = {w: slots for optimizer in self.optimizers for w, slots in optimizer.state.items()}
        return {name: state[w][SLOT] for name, w in self.module.named_parameters() if SLOT in state.get(w, {})}

    @torch.no_grad()
    def put_in(self) -> None:
        """Put the averages in the weights' place, if they are not."""
        if not self.last:
            weights, averages = dict(self.module.named_parameters()), self.averages()
            self.last = {name: weights[name].clone() for name in averages}
            self.copy(averages)

    @torch.no_grad()
    def take_out(self) -> None:
        """Put the weights back, if the averages are in their place."""
        self.copy(self.last)
        self.last = {}

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The averages in the weights' place."""
        were_in = bool(self.last)
        self.put_in()
        try:
            yield
        finally:
            if not were_in:
                self.take_out()

    def copy(self, values: dict[str, Tensor]) -> None:
        """Copy values to the parameters of their names, whose memory stays the same."""
        weights = dict(self.module.named_parameters())
        for name, value in values.items():
            weights[name].copy_(value)

    def save(self, checkpoint: dict[str, Any]) -> None:
        """Let the `state_dict` of a checkpoint hold the averages, and `last_weights` what training continues with."""
        averages, weights = self.averages(), dict(self.module.named_parameters())
        if averages:
            checkpoint["last_weights"] = {name: self.last.get(name, weights[name].detach()) for name in averages}
            checkpoint["state_dict"] = {**checkpoint["state_dict"], **averages}

    def restore(self, checkpoint: dict[str, Any]) -> None:
        """Let the `state_dict` of a checkpoint hold the weights that training continues with."""
        self.last = {}
        checkpoint["state_dict"] = {**checkpoint["state_dict"], **checkpoint.get("last_weights", {})}

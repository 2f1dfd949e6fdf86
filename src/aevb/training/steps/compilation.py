"""A training step compiled as a whole, its update included, by torch.compile."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode

from aevb.training.steps.recording import NotRecordableError, first_words, trace


class Compilation:
    """Forward pass, backward pass and update as one compiled program.

    The operations are traced as for a `Recording`, those of the optimizer in its plain form, and Inductor joins the
    elementwise ones into few passes over memory. It may add in another order, so that results differ from the eager
    step's by rounding; the noise is the same.

    Args:
        step: Takes a minibatch, moves `state` in place by a step of the optimizer it is given, and returns metrics.
        x: A minibatch; others must be of its shape and type.
        state: All tensors that the step reads and writes in place.
        optimizer: Of all parameters.

    Raises:
        NotRecordableError: the step cannot be traced, or there is no compiler.
    """

    fixed_rates = False

    def __init__(
        self,
        step: Callable[[Tensor, Optimizer], dict[str, Tensor]],
        x: Tensor,
        state: list[Tensor],
        optimizer: Optimizer,
    ) -> None:
        self.given = [group["lr"] for group in optimizer.param_groups]
        self.rates = [torch.tensor(rate, dtype=torch.float64, device=x.device) for rate in self.given]
        self.state = state
        plain = plain_form(optimizer, self.rates)
        graph = trace(lambda x: step(x, plain), x, [*state, *self.rates], 0)
        try:
            self.run = torch.compile(graph, dynamic=False, options={"fallback_random": True})
            with torch.no_grad():
                self.run(x, *state, *self.rates)
        except Exception as error:  # a compiler may be missing, or may not know an operation
            raise NotRecordableError(first_words(error)) from error

    def __call__(self, x: Tensor, rates: list[float]) -> dict[str, Tensor]:
        """Take a step on a minibatch; returns its metrics."""
        if rates != self.given:
            self.given = rates
            for tensor, rate in zip(self.rates, rates, strict=True):
                tensor.fill_(rate)
        with torch.no_grad():
            metrics: dict[str, Tensor] = self.run(x, *self.state, *self.rates)
        return metrics


def plain_form(optimizer: Optimizer, rates: list[Tensor]) -> Optimizer:
    """The optimizer with the same parameters and state, unfused, and with step sizes that are read at each step.

    The compiler makes one kernel of the update's elementwise operations itself; fused ones it takes as they are.
    """
    plain = copy.copy(optimizer)
    plain.param_groups = [
        group | dict.fromkeys({"fused", "foreach"} & group.keys(), False) | {"lr": rate}
        for group, rate in zip(optimizer.param_groups, rates, strict=True)
    ]
    take_step = plain.step

    def step_as_compiled() -> None:
        with as_compiled(), TensorFactors():
            take_step()

    plain.step = step_as_compiled  # type: ignore[method-assign, assignment]
    return plain


@contextmanager
def as_compiled() -> Iterator[None]:
    """Let torch's optimizers know that they are traced: they then leave the number of the step in its tensor."""
    before = torch.compiler._is_compiling_flag
    torch.compiler._is_compiling_flag = True
    try:
        yield
    finally:
        torch.compiler._is_compiling_flag = before


class TensorFactors(TorchFunctionMode):
    """Lets tensors be the factors of operations that take only numbers there; torch.compile lets optimizers do so."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.addcdiv_ and isinstance(kwargs.get("value"), Tensor):
            target, numerator, denominator = args
            return target.add_(kwargs["value"] * numerator / denominator)
        if func is Tensor.add_ and isinstance(kwargs.get("alpha"), Tensor):
            target, other = args
            return target.add_(kwargs["alpha"] * other)
        return func(*args, **kwargs)

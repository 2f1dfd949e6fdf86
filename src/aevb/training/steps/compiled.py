"""A training step compiled as a whole, its update included, by TorchInductor."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode

from aevb.errors import first_line
from aevb.training.steps.products import use_onednn
from aevb.training.steps.runner import Inputs, Metrics, TrainingStep
from aevb.training.steps.tracing import trace
from aevb.training.steps.verified import NoProgramError, Verified, nearly_equal, outside_autograd


class Compiled(Verified):
    """Replays a `Compilation`, if it agrees with the eager step up to rounding."""

    name = "compiled"

    def make(self, inputs: Inputs) -> "Compilation":
        return Compilation(self.step, inputs)

    def agree(self, expected: Tensor, found: Tensor, before: Tensor) -> bool:
        return nearly_equal(expected, found, before)


class Compilation:
    """Forward pass, backward pass and update as one compiled program.

    The operations are traced as for a `Recording`, those of the optimizer in its unfused form, and Inductor fuses the
    elementwise ones. Matrix products on a CPU are by oneDNN where that is faster. Sums may be taken in another order,
    so that results differ from the eager step's by rounding; the noise is the same.

    Args:
        step: It is executed twice; the caller restores the state afterwards.
        inputs: A minibatch; all others must have its shapes and types.
        learning_rates: Tensors that the caller sets to the learning rate of each group; None: `__call__` does.
    """

    fixed_learning_rates = False

    def __init__(self, step: TrainingStep, inputs: Inputs, learning_rates: list[Tensor] | None = None) -> None:
        device = inputs[0].device
        self.given = step.learning_rates()
        self.learning_rates = learning_rates or [
            torch.tensor(rate, dtype=torch.float64, device=device) for rate in self.given
        ]
        self.state = [*step.state(), *self.learning_rates]
        optimizer = unfused(step.optimizer, self.learning_rates)
        graph = trace(lambda inputs: step.bare(inputs, optimizer), inputs, self.state)
        try:
            use_onednn(graph)
            with outside_autograd(device):
                self.run = compile_graph(graph, [*inputs, *self.state])
                self.run(*inputs, *self.state)
        except Exception as error:  # a compiler may be missing, or may not know an operation
            raise NoProgramError(first_line(error)) from error

    def __call__(self, inputs: Inputs, learning_rates: list[float]) -> Metrics:
        if learning_rates != self.given:
            self.given = learning_rates
            for tensor, rate in zip(self.learning_rates, learning_rates, strict=True):
                tensor.fill_(rate)
        return self.take(inputs)

    def take(self, inputs: Inputs) -> Metrics:
        """Take the step of a minibatch at the learning rates as they are set."""
        metrics: Metrics = self.run(*inputs, *self.state)
        return metrics


def compile_graph(graph: fx.GraphModule, arguments: list[Any]) -> Callable[..., Metrics]:
    """The program of a graph, without the guards of torch.compile on each argument: `Verified` checks the settings."""
    from torch._inductor import compile  # heavy

    program: Callable[..., Metrics] = compile(graph, arguments, options={"fallback_random": True})  # torch's noise
    return program


def unfused(optimizer: Optimizer, learning_rates: list[Tensor]) -> Optimizer:
    """The optimizer with the same parameters and state, unfused for the compiler to fuse, and tensor learning rates."""
    return with_tensor_rates(optimizer, learning_rates, {"fused": False, "foreach": False})


def with_tensor_rates(optimizer: Optimizer, learning_rates: list[Tensor], settings: dict[str, bool]) -> Optimizer:
    """The optimizer with the same parameters and state, other settings where it has them, and tensor learning rates.

    Its step never asks a tensor for its value.
    """
    copied = copy.copy(optimizer)
    copied._optimizer_step_post_hooks = optimizer._optimizer_step_post_hooks  # of averages of the weights
    copied.param_groups = [
        group | {name: value for name, value in settings.items() if name in group} | {"lr": rate}
        for group, rate in zip(optimizer.param_groups, learning_rates, strict=True)
    ]
    take_step = copied.step

    def step_as_compiled() -> None:
        with as_compiled(), TensorFactors():
            take_step()

    copied.step = step_as_compiled  # type: ignore[method-assign, assignment]
    return copied


@contextmanager
def as_compiled() -> Iterator[None]:
    """Make torch's optimizers keep the number of the step in its tensor, as under torch.compile."""
    before = torch.compiler._is_compiling_flag
    torch.compiler._is_compiling_flag = True
    try:
        yield
    finally:
        torch.compiler._is_compiling_flag = before


class TensorFactors(TorchFunctionMode):
    """Accepts tensors as factors of operations that take only numbers, as torch.compile does."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.addcdiv_ and isinstance(kwargs.get("value"), Tensor):
            target, numerator, denominator = args
            return target.add_(kwargs["value"] * numerator / denominator)
        if func is Tensor.add_ and isinstance(kwargs.get("alpha"), Tensor):
            target, other = args
            return target.add_(kwargs["alpha"] * other)
        return func(*args, **kwargs)

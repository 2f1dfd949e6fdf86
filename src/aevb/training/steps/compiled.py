"""A training step compiled as a whole, its update included, by TorchInductor."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from aevb.errors import first_line
from aevb.training.steps.products import use_onednn
from aevb.training.steps.runner import Inputs, Metrics, TrainingStep
from aevb.training.steps.tracing import trace
from aevb.training.steps.updates import unfused
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
            if device.type == "cpu":
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

    # torch's noise, and 16-bit numbers rounded wherever they are in an eager step
    options = {"fallback_random": True, "emulate_precision_casts": True}
    program: Callable[..., Metrics] = compile(graph, arguments, options=options)
    return program

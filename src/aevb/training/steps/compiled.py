"""A training step compiled as a whole, its update included, by TorchInductor."""

import logging
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, fx

from aevb.errors import first_line
from aevb.training.steps.background import Background, allowed
from aevb.training.steps.products import use_onednn
from aevb.training.steps.runner import Inputs, Metrics, StepRunner, TrainingStep
from aevb.training.steps.tracing import trace
from aevb.training.steps.updates import unfused
from aevb.training.steps.verified import (
    VERIFICATION,
    NoProgramError,
    Verified,
    nearly_equal,
    outside_autograd,
    shapes,
    tolerance,
)

log = logging.getLogger("aevb")


class Compiled(Verified):
    """Replays a `Compilation`, if it agrees with the eager step up to rounding.

    Where `background.allowed`, the fallback takes the steps after the warm-up while a copy of this process compiles;
    between two blocks, the program is then loaded from the compiler's cache.
    """

    name = "compiled"

    def __init__(self, step: TrainingStep, fallback: StepRunner) -> None:
        super().__init__(step, fallback)
        self.draft: Compilation | None = None
        self.background: Background | None = None

    def make(self, inputs: Inputs) -> "Compilation":
        draft, self.draft, self.background = self.draft, None, None
        return (draft or Compilation(self.step, inputs)).compile()

    def agree(self, expected: Tensor, found: Tensor, before: Tensor) -> bool:
        return nearly_equal(expected, found, before, tolerance(self.step))

    def reset(self, settings: tuple[Any, ...]) -> None:
        super().reset(settings)
        self.draft = self.background = None

    def prepare(self, inputs: Inputs) -> None:
        super().prepare(inputs)
        if self.failed or self.program is not None or not allowed(self.step):
            return
        self.fallback.prepare(inputs)
        if self.background is None and self.is_warm:
            self.start(inputs)

    def start(self, inputs: Inputs) -> None:
        """Trace the step, and let a copy of this process compile it."""
        before = self.step.snapshot()
        try:
            self.draft = Compilation(self.step, inputs)
        except NoProgramError as error:
            self.fail(str(error))
            return
        finally:
            self.step.restore(before)
        self.background = Background(self.draft.compile_graph)
        log.info("training steps are %s while they are compiled", self.fallback.name)

    def warm_up(self, inputs: Inputs) -> Metrics:
        if not allowed(self.step):
            return super().warm_up(inputs)
        if self.draft is not None and self.background is not None and self.background.ended:
            reason = self.background.error()
            if reason is not None:
                return self.fall_back(inputs, reason)
            if shapes(inputs) == shapes(self.draft.inputs):
                return self.make_and_verify(inputs)
        self.warmed_up += 1
        return self.fallback.take(inputs)

    def verify(self, inputs: Inputs) -> Metrics:
        metrics = super().verify(inputs)
        if self.verified == VERIFICATION:
            log.log(self.step.log_level, "training steps are compiled")
        return metrics


class Compilation:
    """Forward pass, backward pass and update as one compiled program.

    The operations are traced as for a `Recording`, those of the optimizer in its unfused form, and Inductor fuses the
    elementwise ones. Large matrix products on a CPU are by oneDNN where that is faster. Sums may be taken in another
    order, so that results differ from the eager step's by rounding; the noise is the same.

    Args:
        step: It is executed, here and in `compile`; the caller restores the state afterwards.
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
        self.graph = trace(lambda inputs: step.bare(inputs, optimizer), inputs, self.state)
        self.inputs = inputs
        self.threads = torch.get_num_threads()  # of training; a copy of the process that compiles has one
        self.run: Callable[..., Metrics]
        if device.type == "cpu":
            use_onednn(self.graph)

    def compile_graph(self) -> Callable[..., Metrics]:
        """The program, which is in the compiler's cache on disk then."""
        with outside_autograd(self.inputs[0].device):
            return compile_graph(self.graph, [*self.inputs, *self.state], self.threads)

    def compile(self) -> Self:
        """Make the program, and take a step by it."""
        try:
            self.run = self.compile_graph()
            self.take(self.inputs)
        except Exception as error:  # a compiler may be missing, or may not know an operation
            raise NoProgramError(first_line(error)) from error
        return self

    def __call__(self, inputs: Inputs, learning_rates: list[float]) -> Metrics:
        if learning_rates != self.given:
            self.given = learning_rates
            for tensor, rate in zip(self.learning_rates, learning_rates, strict=True):
                tensor.fill_(rate)
        return self.take(inputs)

    def take(self, inputs: Inputs) -> Metrics:
        """Take the step of a minibatch at the learning rates as they are set."""
        with outside_autograd(inputs[0].device):
            metrics: Metrics = self.run(*inputs, *self.state)
        return metrics


def compile_graph(graph: fx.GraphModule, arguments: list[Any], threads: int) -> Callable[..., Metrics]:
    """The program of a graph, without the guards of torch.compile on each argument: `Verified` checks the settings."""
    from torch._inductor import compile  # heavy

    # torch's noise, and 16-bit numbers rounded wherever they are in an eager step
    options: dict[str, Any] = {"fallback_random": True, "emulate_precision_casts": True}
    options["cpp.threads"] = threads
    program: Callable[..., Metrics] = compile(graph, arguments, options=options)
    return program

"""Programs made from a training step, which replace it once they have been verified against it."""

import logging
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import Tensor

from aevb.collectives import without_communication
from aevb.distributed.strategy import DataParallel
from aevb.training.steps.runner import Inputs, Metrics, StepRunner, TrainingStep

log = logging.getLogger("aevb")

WARM_UP = 100
"""Eager minibatches before a program is made: to make one takes as long as some hundred steps."""

VERIFICATION = 3
"""Minibatches for which both are executed before the program replaces the eager step."""

MAX_PROGRAMS = 5
"""At most; a run whose settings keep changing falls back."""

TOLERANCE, TOLERANCE_BF16 = 1e-3, 0.1
"""Largest relative difference between the two changes of a tensor.

A product or convolution in bf16 is rounded to eight bits after its sum, which another kernel takes in another order; of
the small gradient of a convolution, 0.07 remains of such differences.
"""

PRECISIONS = ("32-true", "64-true", "bf16-true", "bf16-mixed")


class NoProgramError(RuntimeError):
    """No program can be made from a step; the message says why."""


class Program(Protocol):
    """The tensor operations of a step."""

    fixed_learning_rates: bool
    """Whether the learning rates are constants of the program."""

    def __call__(self, inputs: Inputs, learning_rates: list[float]) -> Metrics:
        """Take the step of a minibatch; returns its metrics."""


class Verified(StepRunner):
    """Makes a program from the step, and replays it if its results are those of eager steps.

    Phases: steps are eager in the warm-up; then the program is made; in the verification, each step is executed both
    ways, and parameters, buffers, the optimizer's state, the metrics and the random generators' states must agree; then
    the program is replayed. Where none can be made, or results differ, the fallback takes over, and the log says why.

    Each rank makes its own program, which averages the gradients of all, and replays it only if all ranks can.

    A program holds for the settings it was made with: attributes of the models' parts and of the objective, settings of
    the optimizer, the shapes of the minibatch. When one changes between blocks, the phases start anew; a single block
    of another shape is executed eagerly.
    """

    def __init__(self, step: TrainingStep, fallback: StepRunner) -> None:
        super().__init__(step)
        self.fallback = fallback
        self.failed = False
        self.program: Program | None = None
        self.settings: tuple[Any, ...] = ()
        self.made_for: list[float] = []
        """The learning rates when the program was made."""
        self.shapes: list[Any] = []
        """Shapes and types of the minibatches that the program takes."""
        self.aside = False
        """Whether this block has another shape, and is executed eagerly."""
        self.warmed_up = self.verified = self.programs = 0

    @abstractmethod
    def make(self, inputs: Inputs) -> Program:
        """The program for minibatches like this one, or a `NoProgramError`; the state is restored afterwards."""

    @abstractmethod
    def agree(self, expected: Tensor, found: Tensor, before: Tensor) -> bool:
        """Whether a program changed a tensor as the eager step does; `before` is its value before the step."""

    @property
    def active(self) -> StepRunner:
        return self.fallback.active if self.failed else self

    @property
    def is_warm(self) -> bool:
        """Whether the warm-up has ended."""
        return self.warmed_up >= WARM_UP

    def prepare(self, inputs: Inputs) -> None:
        if self.failed:
            return self.fallback.prepare(inputs)
        settings = self.step.settings()
        stale = self.program and self.program.fixed_learning_rates and self.made_for != self.step.learning_rates()
        same = settings == self.settings and not stale
        fits = self.program is None or shapes(inputs) == self.shapes
        if self.all_agree(same and fits):
            if self.aside:
                self.step.optimizer.zero_grad()
            self.aside = False
        elif self.program is not None and not self.aside and self.all_agree(same):
            self.aside = True  # a single block of another shape, such as an epoch's last, keeps the program
        else:
            self.reset(settings)
        return None

    def reset(self, settings: tuple[Any, ...]) -> None:
        """Begin anew with these settings."""
        self.settings, self.program, self.aside = settings, None, False
        self.warmed_up = self.verified = 0

    def take(self, inputs: Inputs) -> Metrics:
        if self.failed:
            return self.fallback.take(inputs)
        if self.program is None:
            return self.warm_up(inputs)
        if self.aside:
            return self.step.eager(inputs)
        return self.replay(inputs) if self.verified == VERIFICATION else self.verify(inputs)

    def warm_up(self, inputs: Inputs) -> Metrics:
        """Take the step eagerly, or make the program at the end of the warm-up."""
        if self.is_warm:
            self.prepare(inputs)  # the optimizer's state exists now
        if self.is_warm:
            return self.make_and_verify(inputs)
        self.warmed_up += 1
        return self.step.eager(inputs)

    def make_and_verify(self, inputs: Inputs) -> Metrics:
        """Make the program, and verify it on the same minibatch."""
        reason = "another process cannot"
        if self.programs == MAX_PROGRAMS:
            return self.fall_back(inputs, "the settings of the run change too often")
        self.programs += 1
        self.made_for, self.shapes = self.step.learning_rates(), shapes(inputs)
        before = self.step.snapshot()
        try:
            with without_communication():
                self.program = self.make(inputs)
        except NoProgramError as error:
            reason = str(error)
        self.step.restore(before)
        return self.verify(inputs) if self.all_agree(self.program is not None) else self.fall_back(inputs, reason)

    def verify(self, inputs: Inputs) -> Metrics:
        """Take the step both ways, and keep the results of the eager one."""
        before = self.step.snapshot()
        found = self.execute(inputs)
        after = self.step.snapshot()
        self.step.restore(before)
        metrics = self.step.eager(inputs)
        agree = all(self.agree(*tensors) for tensors in zip(self.step.snapshot(), after, before, strict=True)) and all(
            self.agree(value, found[name], torch.zeros_like(value)) for name, value in metrics.items()
        )
        if not self.all_agree(agree):
            self.fail("one differed from the eager step")
            return metrics
        self.verified += 1
        if self.verified == VERIFICATION:
            self.step.optimizer.zero_grad()
        return metrics

    def replay(self, inputs: Inputs) -> Metrics:
        """Take the step by the program."""
        metrics = self.execute(inputs)
        self.step.count_updates(1)
        return metrics

    def execute(self, inputs: Inputs) -> Metrics:
        """Run the program."""
        assert self.program is not None
        with outside_autograd(inputs[0].device):
            return self.program(inputs, self.step.learning_rates())

    def fall_back(self, inputs: Inputs, reason: str) -> Metrics:
        """Use the fallback from this step on."""
        self.fail(reason)
        self.fallback.prepare(inputs)
        return self.fallback.take(inputs)

    def fail(self, reason: str) -> None:
        """Use the fallback from the next step on."""
        self.failed, self.program = True, None
        log.log(self.step.log_level, "training steps are %s, not %s: %s", self.fallback.name, self.name, reason)

    def all_agree(self, decision: bool) -> bool:
        """Whether the decision is true in all processes."""
        return self.step.trainer.strategy.reduce_boolean_decision(decision, all=True)


def shapes(inputs: Inputs) -> list[Any]:
    """The shape and the type of each tensor of a minibatch."""
    return [(tensor.shape, tensor.dtype) for tensor in inputs]


@contextmanager
def outside_autograd(device: torch.device) -> Iterator[None]:
    """Disable gradients and autocast, whose operations a program contains."""
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        yield


def bitwise_equal(expected: Tensor, found: Tensor) -> bool:
    """Whether two tensors are equal, NaN included."""
    same = torch.equal(expected.nan_to_num(), found.nan_to_num()) and torch.equal(expected.isnan(), found.isnan())
    return expected.dtype == found.dtype and same


def tolerance(step: TrainingStep) -> float:
    """The largest relative difference of changes with the precision of a step's products."""
    return TOLERANCE_BF16 if step.trainer.precision.startswith("bf16") else TOLERANCE


def nearly_equal(
    expected: Tensor, found: Tensor, before: Tensor, tolerance: float = TOLERANCE, scale: Tensor | None = None
) -> bool:
    """Whether two tensors were changed alike, up to rounding and to a share of the change, the tolerance.

    `scale` is the norm that rounding is relative to; None: that of the tensor.
    """
    if not expected.is_floating_point() or not expected.isfinite().all():
        return bitwise_equal(expected, found)
    rounding = 10 * torch.finfo(expected.dtype).eps * (expected.norm() if scale is None else scale)
    allowed = tolerance * (expected - before).norm() + rounding
    return expected.dtype == found.dtype and bool((expected - found).norm() <= allowed)


def obstacle(step: TrainingStep) -> str | None:
    """Why the step must be eager, whatever its operations; None: it need not."""
    trainer, module = step.trainer, step.module
    if trainer.world_size > 1 and not isinstance(trainer.strategy, DataParallel):
        return f"the strategy {type(trainer.strategy).__name__} works by hooks"
    if trainer.precision not in PRECISIONS:
        return f"with precision {trainer.precision} the scale of the loss is chosen in Python"
    if module.device.type not in ("cpu", "cuda"):
        return f"the device is {module.device.type}"
    if not all(isinstance(rate, int | float) for rate in step.learning_rates()):
        return "a learning rate is a tensor"
    if torch.is_anomaly_enabled():
        return "anomaly detection is on"
    for part in module.modules():
        if part._forward_hooks or part._forward_pre_hooks or part._backward_hooks or part._backward_pre_hooks:
            return f"{type(part).__name__} has hooks"
    for hook in ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step"):
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        for owner in (module, *callbacks):
            if is_overridden(hook, owner) and not definer(owner, hook).__module__.startswith("aevb."):
                return f"{type(owner).__name__}.{hook} looks at gradients"
    return None


def definer(owner: Any, name: str) -> type:
    """The class in which an object's method is defined."""
    return next(kind for kind in type(owner).__mro__ if name in vars(kind))

"""The steps of several members as one program: every operation of a step is batched over the members.

The forward and backward pass of one member are traced, as for a `Recording`, and executed for all by `OverMembers`, so
heads and objectives are as they are for one. The updates are those of the members' own optimizers, on rows of the
tensors.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.func import functionalize
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel

from aevb.errors import first_line
from aevb.training.averaging import SLOT
from aevb.training.steps.over_members import OverMembers
from aevb.training.steps.recorded import Recording
from aevb.training.steps.runner import Inputs, Metrics, TrainingStep, clip_gradients, unvalidated_distributions
from aevb.training.steps.tracing import trace
from aevb.training.steps.verified import NoProgramError, nearly_equal, outside_autograd, tolerance

log = logging.getLogger("aevb")


class BatchedStep:
    """The step of all members for a minibatch of each, in the form of a `TrainingStep` that can be recorded.

    Args:
        steps: Of the members.
        inputs: A minibatch of each, with a leading axis of members.
        generators: Of the members.
    """

    def __init__(self, steps: Sequence[TrainingStep], inputs: Inputs, generators: Sequence[torch.Generator]) -> None:
        self.steps, self.generators = steps, generators
        self.optimizer = SimpleNamespace(param_groups=[g for step in steps for g in step.optimizer.param_groups])
        tensors = [[*step.parts.parameters(), *step.parts.buffers()] for step in steps]
        self.parameters = [list(step.parts.parameters()) for step in steps]
        self.stacked = [stack_in_place(rows) for rows in zip(*tensors, strict=True)]
        mine = tuple(part[0] for part in inputs)
        with sdpa_kernel(SDPBackend.MATH):  # of operations that can be batched
            graph = trace(lambda inputs: metrics_and_gradients(steps[0], inputs), mine, tensors[0])
        try:
            with outside_autograd(mine[0].device):
                functional = make_fx(functionalize(lambda *values: graph(*values)))(*mine, *tensors[0])
                over_members = OverMembers(functional, generators)
                self.gradients = make_fx(lambda *values: over_members.run(*values))(*inputs, *self.stacked)
        except NoProgramError:
            raise
        except Exception as error:  # of an operation that cannot be batched
            raise NoProgramError(first_line(error)) from error

    def bare(self, inputs: Inputs, optimizer: Any) -> Metrics:
        """Take the step; returns the metrics, (R,) each."""
        metrics: Metrics
        metrics, gradients = self.gradients(*inputs, *self.stacked)
        self.set_gradients(gradients)
        for step in self.steps:
            clip_gradients(step.trainer, step.optimizer)
            step.optimizer.step()
        return metrics

    def set_gradients(self, gradients: Sequence[Tensor | None]) -> None:
        """Set the gradients of all members to the rows of gradients with a leading axis of members."""
        for number, gradient in enumerate(gradients):
            rows = [None] * len(self.steps) if gradient is None else gradient.unbind(0)
            for parameters, row in zip(self.parameters, rows, strict=True):
                parameters[number].grad = row

    def state(self) -> list[Tensor]:
        """The tensors of all members, stacked and as rows, and the states of their optimizers."""
        return [*self.stacked, *(tensor for step in self.steps for tensor in step.state())]


def metrics_and_gradients(step: TrainingStep, inputs: Inputs) -> tuple[Metrics, list[Tensor | None]]:
    """The metrics of a minibatch and the gradients of a member's parameters."""
    step.optimizer.zero_grad()
    estimates = step.estimates(*inputs)
    estimate = next(estimates)
    estimate.loss.backward()
    if next(estimates, None) is not None:
        raise NoProgramError(f"{type(step.objective).__name__} takes several steps for a minibatch")
    found = estimate.metrics(), [parameter.grad for parameter in step.parts.parameters()]
    step.optimizer.zero_grad()
    return found


def named_gradients(step: TrainingStep, gradients: Sequence[Tensor | None]) -> dict[str, Tensor]:
    """The gradients that exist, by the names of a member's parameters."""
    names = [name for name, _ in step.parts.named_parameters()]
    return {f"gradient of {name}": value for name, value in zip(names, gradients, strict=True) if value is not None}


def everything_of(step: TrainingStep, inputs: Inputs) -> dict[str, Tensor]:
    """The metrics of a minibatch, the gradients of a member's parameters, and its buffers, by name."""
    metrics, gradients = metrics_and_gradients(step, inputs)
    buffers = {f"buffer {number}": buffer.clone() for number, buffer in enumerate(step.parts.buffers())}
    return metrics | named_gradients(step, gradients) | buffers


def stack_in_place(rows: Sequence[Tensor]) -> Tensor:
    """The rows in one tensor, whose memory becomes theirs."""
    stacked = torch.stack([row.detach() for row in rows])
    for row, place in zip(rows, stacked.unbind(0), strict=True):
        row.data = place
    return stacked


class Batched:
    """Takes the steps of all members at once, if the results are those of the members in turn up to rounding.

    Unlike other programs it is made before the first step (or the second, if the first makes the state of the
    optimizers) and not after a warm-up: its results differ by rounding from those of eager steps, so a resumed run must
    not take another number of these.

    Args:
        steps: Of the members.

    Attributes:
        failed: Whether the members cannot be batched; the log says why.
    """

    def __init__(self, steps: Sequence[TrainingStep]) -> None:
        self.steps = steps
        self.device = steps[0].module.device
        self.generators = [torch.Generator(self.device) for _ in steps]
        self.recording: Recording | None = None
        self.made_for: Any = None
        self.failed = False

    def run(self, inputs: Sequence[Inputs], samples_seen: int, batch_size: int) -> Metrics:
        """Take the steps of a block of each member; returns the metrics of each minibatch and member, (K, R) each."""
        block = [torch.stack(parts, 1) for parts in zip(*inputs, strict=True)]
        found = []
        with unvalidated_distributions():
            for number in range(len(block[0])):
                minibatch = tuple(part[number] for part in block)
                self.count_samples(samples_seen + number * batch_size)
                found.append(self.take(minibatch))
        return {name: torch.stack([metrics[name] for metrics in found]) for name in found[0]}

    def count_samples(self, samples_seen: int) -> None:
        """Tell the members' objectives the training samples before a step."""
        for step in self.steps:
            step.objective.samples_seen.fill_(samples_seen)

    def take(self, minibatch: Inputs) -> Metrics:
        """Take a step by the program, which is made anew where settings have changed."""
        if self.failed or not all(map(has_state, self.steps)):
            return self.in_turn(minibatch, TrainingStep.eager)
        rates = [group["lr"] for step in self.steps for group in step.optimizer.param_groups]
        settings = self.settings(minibatch)
        fixed = self.recording is not None and self.recording.fixed_learning_rates
        if self.recording is None or self.made_for != (settings, rates if fixed else self.made_for[1]):
            try:
                self.recording = self.make(minibatch, rates)
            except NoProgramError as error:
                self.failed = True
                log.info("the members take their steps in turn: %s", error)
                return self.in_turn(minibatch, TrainingStep.eager)
            self.made_for = self.settings(minibatch), rates
        assert self.recording is not None
        metrics = self.replay(self.recording, minibatch, rates)
        self.steps[0].updates = 1
        self.steps[0].count_updates(1)
        return metrics

    def settings(self, minibatch: Inputs) -> tuple[Any, ...]:
        """The constants of the program; those of the other members are as the first's."""
        return [part.shape for part in minibatch], self.steps[0].settings()

    def in_turn(self, minibatch: Inputs, take: Callable[[TrainingStep, Inputs], Metrics]) -> Metrics:
        """Take the step of one member after the other."""
        found = []
        for number, (step, generator) in enumerate(zip(self.steps, self.generators, strict=True)):
            with drawing_from(generator):
                found.append(take(step, tuple(part[number] for part in minibatch)))
        return {name: torch.stack([metrics[name] for metrics in found]) for name in found[0]}

    def make(self, minibatch: Inputs, rates: list[float]) -> Recording:
        """The program, once its results have been compared; the state is as before."""
        with self.state_kept() as before:
            step: Any = BatchedStep(self.steps, minibatch, self.generators)
            self.restore(before)
            recording = Recording(step, minibatch)
            self.restore(before)
            self.require_agreement(step, before, minibatch, lambda: self.replay(recording, minibatch, rates))
        return recording

    @contextmanager
    def state_kept(self) -> Iterator[list[Tensor]]:
        """Yields the state, which is as before at the end, without gradients."""
        before = self.snapshot()
        try:
            yield before
        finally:
            self.restore(before)
            for step in self.steps:
                step.optimizer.zero_grad()

    def replay(self, recording: Recording, minibatch: Inputs, rates: list[float]) -> Metrics:
        """Take the step by the program."""
        with outside_autograd(self.device):
            return recording(minibatch, rates)

    def require_agreement(
        self, step: BatchedStep, before: list[Tensor], minibatch: Inputs, take: Callable[[], Metrics]
    ) -> None:
        """Raise an error if the step of all members has not the results of each member's, up to rounding.

        Metrics, gradients and buffers are compared with those of each member, and then the state after `take` with that
        after the members' own optimizers have had the same gradients. For an optimizer may turn rounding into any
        change: Adagrad's first step is as long for a small gradient as for a large one, and a small one may have
        another sign.
        """
        with outside_autograd(self.device):
            metrics, gradients = step.gradients(*minibatch, *step.stacked)
        found = metrics | named_gradients(self.steps[0], gradients)
        buffers = zip(*([buffer.clone() for buffer in each.parts.buffers()] for each in self.steps), strict=True)
        found |= {f"buffer {number}": torch.stack(rows) for number, rows in enumerate(buffers)}
        self.restore(before)
        expected = self.in_turn(minibatch, everything_of)
        scale = torch.cat([value.flatten() for name, value in expected.items() if name.startswith("gradient")]).norm()
        different, near = [], partial(nearly_equal, tolerance=tolerance(self.steps[0]))
        for name, values in expected.items():
            of_gradient = scale if name.startswith("gradient") else None
            for member, (one, other) in enumerate(zip(values, found[name], strict=True)):
                if not near(one, other, torch.zeros_like(one), scale=of_gradient):
                    difference = (one.double() - other.double()).norm() / one.double().norm()
                    different.append(f"{name} of member {member}: by {difference:.1e}")
        self.restore(before)
        with outside_autograd(self.device):
            BatchedStep.bare(step, minibatch, None)
        own = self.snapshot()
        self.restore(before)
        take()
        for name, *states in zip(self.names(), own, self.snapshot(), before, strict=False):
            if not near(*states):
                difference, change = ((states[0].double() - each.double()).norm() for each in states[1:])
                different.append(f"{name}: by {difference / change:.1e} of its change")
        if different:
            raise NoProgramError(f"one step of all differs from those of each ({'; '.join(different[:3])})")

    def names(self) -> Iterator[str]:
        """Of the tensors of the members' states."""
        for number, step in enumerate(self.steps):
            tensors = [*step.parts.named_parameters(), *step.parts.named_buffers()]
            yield from (f"{name} of member {number}" for name, _ in tensors)
            yield from ["a state of the optimizer"] * (len(step.state()) - len(tensors))

    def snapshot(self) -> list[Tensor]:
        return snapshot(self.steps, self.generators)

    def restore(self, state: list[Tensor]) -> None:
        restore(self.steps, self.generators, state)


def snapshot(steps: Sequence[TrainingStep], generators: Sequence[torch.Generator]) -> list[Tensor]:
    """Copies of the members' states, and the states of their generators."""
    states = [tensor.detach().clone() for step in steps for tensor in step.state()]
    return [*states, *(generator.get_state() for generator in generators)]


@torch.no_grad()
def restore(steps: Sequence[TrainingStep], generators: Sequence[torch.Generator], saved: list[Tensor]) -> None:
    """Set the members' states and their generators back."""
    state = [tensor for step in steps for tensor in step.state()]
    for tensor, copy in zip(state, saved, strict=False):
        tensor.copy_(copy)
    for generator, copy in zip(generators, saved[len(state) :], strict=True):
        generator.set_state(copy)


def has_state(step: TrainingStep) -> bool:
    """Whether the state of the step's optimizer exists, with the averages of the weights if there are to be some."""
    slots = step.optimizer.state.values()
    return bool(slots) and (not step.optimizer._optimizer_step_post_hooks or any(SLOT in each for each in slots))


@contextmanager
def drawing_from(generator: torch.Generator) -> Iterator[None]:
    """Let torch's default generator of a device be in the state of another one, and advance that one with it."""
    on_gpu = generator.device.type == "cuda"
    default = torch.cuda.default_generators[generator.device.index or 0] if on_gpu else torch.default_generator
    default.set_state(generator.get_state())
    try:
        yield
    finally:
        generator.set_state(default.get_state())

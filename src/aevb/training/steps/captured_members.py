"""The steps of several members at once in CUDA graphs."""

import logging
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from aevb.training.steps.batched import Batched, BatchedStep, has_state, restore, snapshot, stack_in_place
from aevb.training.steps.capture import Captured, Graphs, move_counters, rate_tensors
from aevb.training.steps.runner import (
    Inputs,
    Metrics,
    StepRunner,
    TrainingStep,
    clip_gradients,
    unvalidated_distributions,
)
from aevb.training.steps.updates import adagrad_update, is_plain_adagrad, with_tensor_rates
from aevb.training.steps.verified import NoProgramError, outside_autograd

log = logging.getLogger("aevb")


class MembersStep(BatchedStep):
    """The step of all members in the form of a `TrainingStep` that can be captured.

    Args:
        steps: Of the members, whose optimizers have states.
        inputs: A minibatch of each, with a leading axis of members.
        generators: Of the members.
    """

    def __init__(self, steps: Sequence[TrainingStep], inputs: Inputs, generators: Sequence[torch.Generator]) -> None:
        super().__init__(steps, inputs, generators)
        self.module, self.log_level = steps[0].module, steps[0].log_level
        counters = [step.objective.samples_seen for step in steps]
        of_all = {rows[0].data_ptr(): rows for rows in self.stacked}
        self.objective = SimpleNamespace(samples_seen=of_all[counters[0].data_ptr()])

    def is_in_place(self) -> bool:
        """Whether the parameters of all members are still the rows of the stacked ones."""
        return all(
            parameter.data_ptr() == row.data_ptr()
            for rows, column in zip(self.stacked, zip(*self.parameters, strict=True), strict=False)
            for row, parameter in zip(rows.unbind(0), column, strict=True)
        )

    def learning_rates(self) -> list[float]:
        """The learning rate of each group of parameters of each member."""
        return [rate for step in self.steps for rate in step.learning_rates()]

    def settings(self) -> tuple[Any, ...]:
        """The constants of a graph; those of the other members are as the first's."""
        return self.steps[0].settings()

    def count_updates(self, minibatches: int) -> None:
        """Count the steps in Lightning's progress, in which those of all members are one."""
        self.steps[0].updates = 1
        self.steps[0].count_updates(minibatches)

    def snapshot(self) -> list[Tensor]:
        return snapshot(self.steps, self.generators)

    def restore(self, saved: list[Tensor]) -> None:
        restore(self.steps, self.generators, saved)

    def bare(self, inputs: Inputs, optimizer: Any) -> Metrics:
        """Take the step; `optimizer` updates the parameters of all members from their gradients."""
        with outside_autograd(inputs[0].device):
            metrics, gradients = self.gradients(*inputs, *self.stacked)
            optimizer.update(gradients)
        found: Metrics = metrics
        return found


class UpdateOfMembers:
    """The update of all members, by their optimizers with learning rates that are tensors.

    That of Adagrad, which is the same for each number, is of the stacked parameters.

    Args:
        step: Of all members.
        learning_rates: Of each group of each member.
    """

    def __init__(self, step: MembersStep, learning_rates: list[Tensor]) -> None:
        self.step = step
        rates = iter(learning_rates)
        self.rates = [[next(rates) for _ in each.optimizer.param_groups] for each in step.steps]
        self.optimizers = [
            with_tensor_rates(each.optimizer, of_member, {"capturable": True})
            for each, of_member in zip(step.steps, self.rates, strict=True)
        ]
        self.sums: list[Tensor] | None = None
        if all(map(is_elementwise, step.steps)):
            self.sums = [
                stack_in_place([each.optimizer.state[p]["sum"] for each, p in zip(step.steps, column, strict=True)])
                for column in zip(*step.parameters, strict=True)
            ]

    def zero_grad(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()

    def update(self, gradients: list[Tensor | None]) -> None:
        """Take the step of all optimizers, for gradients with a leading axis of members."""
        if self.sums is not None:
            self.update_stacked(gradients, self.sums)
            return
        self.step.set_gradients(gradients)
        for each, optimizer in zip(self.step.steps, self.optimizers, strict=True):
            clip_gradients(each.trainer, optimizer)
            optimizer.step()

    @torch.no_grad()
    def update_stacked(self, gradients: list[Tensor | None], sums: list[Tensor]) -> None:
        """Adagrad's step for the stacked parameters."""
        first = self.step.steps[0].optimizer
        groups = {id(p): number for number, group in enumerate(first.param_groups) for p in group["params"]}
        minus_rates = [-torch.stack(of_group) for of_group in zip(*self.rates, strict=True)]
        counts = []
        for number, (gradient, total) in enumerate(zip(gradients, sums, strict=True)):
            if gradient is None:
                continue
            group = groups[id(self.step.parameters[0][number])]
            rate = minus_rates[group].to(gradient.dtype).view(-1, *[1] * (gradient.dim() - 1))
            adagrad_update([(self.step.stacked[number], gradient, total)], rate, first.param_groups[group]["eps"])
            for each, parameters in zip(self.step.steps, self.step.parameters, strict=True):
                counts.append(each.optimizer.state[parameters[number]]["step"])
        torch._foreach_add_(counts, 1)


def is_elementwise(step: TrainingStep) -> bool:
    """Whether the update of a member is Adagrad's, without what looks at several numbers or follows an update."""
    optimizer: Any = step.optimizer
    follows = optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks
    has_states = all("sum" in optimizer.state[p] for group in optimizer.param_groups for p in group["params"])
    return is_plain_adagrad(optimizer) and has_states and not follows and not step.trainer.gradient_clip_val


class CapturedMembers(Captured):
    """Replays CUDA graphs of the steps of all members."""

    step: MembersStep  # type: ignore[assignment]

    def __init__(self, step: MembersStep, fallback: StepRunner, graphs: Graphs) -> None:
        super().__init__(step, fallback, graphs)  # type: ignore[arg-type]

    def capturable(self) -> Optimizer:
        found: Any = UpdateOfMembers(self.step, self.learning_rates)
        return found

    def move_counters(self, device: torch.device) -> None:
        for step in self.step.steps:
            move_counters(step.optimizer, device)

    def own_generators(self) -> Sequence[torch.Generator]:
        return self.step.generators


class InTurn(StepRunner):
    """Takes the steps of one member after the other.

    Args:
        batched: Of the members.
    """

    name = "in turn"

    def __init__(self, batched: Batched) -> None:
        super().__init__(batched.steps[0])
        self.batched = batched

    def count_samples(self, samples_seen: int) -> None:
        self.batched.count_samples(samples_seen)

    def take(self, inputs: Inputs) -> Metrics:
        return self.batched.in_turn(inputs, TrainingStep.eager)


class BatchedInGraphs(Batched):
    """Takes the steps of blocks of all members at once, in CUDA graphs.

    Args:
        steps: Of the members.
        graphs: Of the device.
    """

    def __init__(self, steps: Sequence[TrainingStep], graphs: Graphs) -> None:
        super().__init__(steps)
        self.graphs = graphs
        self.runner: CapturedMembers | None = None

    def run(self, inputs: Sequence[Inputs], samples_seen: int, batch_size: int) -> Metrics:
        block = tuple(torch.stack(parts, 1) for parts in zip(*inputs, strict=True))
        found = []
        if not all(map(has_state, self.steps)):
            found.append(InTurn(self).run(tuple(part[:1] for part in block), samples_seen, batch_size))
            block, samples_seen = tuple(part[1:] for part in block), samples_seen + batch_size
        if len(block[0]):
            found.append(self.choose(tuple(part[0] for part in block)).run(block, samples_seen, batch_size))
        return {name: torch.cat([metrics[name] for metrics in found]) for name in found[0]}

    def choose(self, minibatch: Inputs) -> StepRunner:
        """What takes the steps of minibatches like this one."""
        made_for = [part.shape for part in minibatch], self.steps[0].settings()[0]
        if self.runner is None or self.made_for != made_for or not self.runner.step.is_in_place():
            try:
                with unvalidated_distributions():
                    step = self.verified_step(minibatch)
            except NoProgramError as error:
                self.failed = True
                log.info("the members take their steps in turn: %s", error)
                return InTurn(self)
            self.runner = CapturedMembers(step, InTurn(self), self.graphs)
            self.made_for = made_for
        self.failed = self.runner.failed
        return self.runner

    def verified_step(self, minibatch: Inputs) -> MembersStep:
        """The step of all members, once its results have been compared; the state is as before."""
        with self.state_kept() as before:
            step = MembersStep(self.steps, minibatch, self.generators)
            self.restore(before)
            rates = rate_tensors(step)
            self.require_agreement(step, before, minibatch, lambda: step.bare(minibatch, UpdateOfMembers(step, rates)))
        return step

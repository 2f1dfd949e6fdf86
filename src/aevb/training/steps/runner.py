"""`TrainingStep`, the computation of a step, and `StepRunner`, the interface of its execution."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.plugins.precision import Precision
from pytorch_lightning.utilities.enums import GradClipAlgorithmType
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.optim import Optimizer

from aevb.objectives import Estimate, Objective

Metrics = dict[str, Tensor]

Inputs = tuple[Tensor, ...]
"""x (B, *data_shape) and, of a conditional model, c (B, *condition_shape); in a block with K before B."""

CONSTANTS = (bool, int, float, str, tuple, type(None))
"""Types of the attributes of modules that are constants of a program made from a step."""


class TrainingStep:
    """The optimizer steps for one minibatch, with the state that they read and write.

    Args:
        module: It is attached to a trainer.
        p: Generative model.
        q: Recognition model.
        objective: What is optimized.
        number: Of the optimizer, which has all parameters of p, q and the objective, among the module's.
    """

    def __init__(self, module: pl.LightningModule, p: Any, q: Any, objective: Objective, number: int = 0) -> None:
        self.module, self.trainer, self.number = module, module.trainer, number
        self.log_level = logging.DEBUG if number else logging.INFO
        """Of what holds for all members of a run, and is said of the first."""
        self.p, self.q, self.objective = p, q, objective
        self.parts = nn.ModuleList([p, q, objective])
        optimizers = module.optimizers()
        optimizer = optimizers[number] if isinstance(optimizers, list) else optimizers
        assert isinstance(optimizer, LightningOptimizer)
        self.lightning_optimizer = optimizer
        self.optimizer: Optimizer = optimizer.optimizer
        self.updates = 0

    def estimates(self, x: Tensor, c: Tensor | None = None) -> Iterator[Estimate]:
        """The objective's estimates, whose losses are minimised in turn."""
        return self.objective.estimates(self.p.given(c), self.q.given(c), x)

    def eager(self, inputs: Inputs) -> Metrics:
        """Take the optimizer steps for a minibatch; returns the metrics of the last one, () each."""
        for estimate in self.estimates(*inputs):
            self.lightning_optimizer.zero_grad()
            self.module.manual_backward(estimate.loss)
            self.lightning_optimizer.step()
        return estimate.metrics()

    def bare(self, inputs: Inputs, optimizer: Optimizer) -> Metrics:
        """The same operations on tensors without Lightning's hooks, by `optimizer`, a form of the optimizer."""
        self.updates = 0
        for estimate in self.estimates(*inputs):
            optimizer.zero_grad()
            estimate.loss.backward()
            self.trainer.strategy.post_backward(estimate.loss)
            clip_gradients(self.trainer, optimizer)
            optimizer.step()
            self.updates += 1
        return estimate.metrics()

    def count_updates(self, minibatches: int) -> None:
        """Count the optimizer steps of `bare` for each minibatch in Lightning's progress; of members those of one."""
        if self.number == 0:
            progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
            progress.total.increment_by(minibatches * self.updates)
            progress.current.increment_by(minibatches * self.updates)

    def learning_rates(self) -> list[float]:
        """The learning rate of each group of parameters."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state(self) -> list[Tensor]:
        """All tensors that a step changes: parameters, buffers, the optimizer's state."""
        tensors = [*self.parts.parameters(), *self.parts.buffers()]
        slots = [value for state in self.optimizer.state.values() for value in state.values()]
        return tensors + [value for value in slots if isinstance(value, Tensor)]

    def snapshot(self) -> list[Tensor]:
        """Copies of the state and of the random generators' states."""
        with torch.no_grad():
            copies = [tensor.clone() for tensor in self.state()]
        return [*copies, *(get() for get, _ in self.generators())]

    def restore(self, snapshot: list[Tensor]) -> None:
        """Set the state and the random generators back."""
        state, generators = self.state(), self.generators()
        with torch.no_grad():
            for tensor, copy in zip(state, snapshot, strict=False):
                tensor.copy_(copy)
        for (_, set_state), copy in zip(generators, snapshot[len(state) :], strict=True):
            set_state(copy)

    def generators(self) -> list[tuple[Callable[[], Tensor], Callable[[Tensor], None]]]:
        """How to get and to set the state of each random generator that a step may draw from."""
        found: list[tuple[Callable[[], Tensor], Callable[[Tensor], None]]]
        found = [(torch.get_rng_state, torch.set_rng_state)]
        if self.module.device.type == "cuda":
            found.append((torch.cuda.get_rng_state, torch.cuda.set_rng_state))
        return found

    def settings(self) -> tuple[Any, ...]:
        """The constants of a program made from the step, except the learning rates."""
        attributes = [
            (name, value)
            for part in self.parts.modules()
            for name, value in vars(part).items()
            if isinstance(value, CONSTANTS)
        ]
        groups = [
            (name, value)
            for group in self.optimizer.param_groups
            for name, value in group.items()
            if name not in ("params", "lr")
        ]
        tensors = [(id(tensor), tensor.data_ptr(), tensor.requires_grad) for tensor in self.state()]
        return (attributes, groups, tensors, self.trainer.gradient_clip_val, self.trainer.gradient_clip_algorithm)


def clip_gradients(trainer: pl.Trainer, optimizer: Optimizer) -> None:
    """Limit the gradients by the trainer's `gradient_clip_val` and `gradient_clip_algorithm`."""
    limit, algorithm = trainer.gradient_clip_val, trainer.gradient_clip_algorithm or GradClipAlgorithmType.NORM
    plugin = trainer.precision_plugin
    if not limit:
        return
    if getattr(plugin, "scaler", None) is not None:
        plugin.clip_gradients(optimizer, limit, algorithm)
    else:  # Lightning's mixed precision refuses fused optimizers here, also where it scales no loss
        Precision.clip_gradients(plugin, optimizer, limit, algorithm)


class StepRunner(ABC):
    """Executes a training step for each minibatch of a block.

    Args:
        step: What is executed.
    """

    name: str
    """What the log calls steps that it executes."""

    def __init__(self, step: TrainingStep) -> None:
        self.step = step

    @property
    def active(self) -> "StepRunner":
        """The runner in use: this one, or its fallback."""
        return self

    def run(self, block: Inputs, samples_seen: int, batch_size: int) -> Metrics:
        """Take the steps of a block of K minibatches; returns the metrics of each minibatch, (K,) each.

        Args:
            block: Minibatches of this process.
            samples_seen: Training samples before the block, over all processes.
            batch_size: Training samples of a minibatch, over all processes.
        """
        found = []
        with unvalidated_distributions():
            minibatches = list(zip(*block, strict=True))
            self.prepare(minibatches[0])
            for number, inputs in enumerate(minibatches):
                self.count_samples(samples_seen + number * batch_size)
                found.append(self.take(inputs))
        return {name: torch.stack([metrics[name] for metrics in found]) for name in found[0]}

    def count_samples(self, samples_seen: int) -> None:
        """Tell the objective the training samples before a step."""
        self.step.objective.samples_seen.fill_(samples_seen)

    def prepare(self, inputs: Inputs) -> None:  # noqa: B027 - most runners need nothing
        """Called before each block with its first minibatch."""

    @abstractmethod
    def take(self, inputs: Inputs) -> Metrics:
        """Take the step of a minibatch; returns its metrics, () each."""


@contextmanager
def unvalidated_distributions() -> Iterator[None]:
    """Switch off validation of parameters, which waits for the device; a loss that is not finite is found anyway."""
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)

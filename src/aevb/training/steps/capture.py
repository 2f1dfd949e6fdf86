"""Many training steps captured in one CUDA graph.

A step of a small model is some hundred kernels of a few microseconds each, which Python launches more slowly than a GPU
executes them. A CUDA graph holds the kernels of many steps, with the addresses of what they read and write, and is
launched at once. What changes between launches is therefore written to memory that stays: the data, the number of
samples seen, the learning rates, and, by torch, the seed and the offset of the noise.
"""

import gc
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from aevb.errors import first_line
from aevb.training.steps.compiled import Compilation
from aevb.training.steps.runner import Inputs, Metrics, StepRunner, TrainingStep, unvalidated_distributions
from aevb.training.steps.updates import with_tensor_rates
from aevb.training.steps.verified import NoProgramError, bitwise_equal, nearly_equal, shapes, tolerance

log = logging.getLogger("aevb")

STEPS = 50
"""Minibatches in a graph, at most; a longer block is several."""

MAX_GRAPHS = 4
"""Of minibatches of different shapes or number, such as an epoch's last; each holds memory."""

Take = Callable[[Inputs], Metrics]
"""Takes the step of a minibatch."""


class Graphs(Protocol):
    """What capturing needs of a device."""

    def warm_up(self) -> AbstractContextManager[None]:
        """Where steps are launched before they are captured."""

    def no_waiting(self) -> AbstractContextManager[None]:
        """Raises an error where Python would wait for the device, which cannot be captured."""

    def capture(
        self, compute: Callable[[], Metrics], generators: Sequence[torch.Generator] = ()
    ) -> tuple[Callable[[], None], Metrics]:
        """Capture what `compute` launches, without executing it: how to replay it, and where it leaves its results.

        Args:
            compute: What is captured.
            generators: From which it draws, besides torch's own.
        """


class CudaGraphs:
    """CUDA graphs that share their memory, as no graph reads what another has written."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.pool = torch.cuda.graph_pool_handle()
        self.stream = torch.cuda.Stream(device)

    @contextmanager
    def warm_up(self) -> Iterator[None]:
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.stream):
            yield
        torch.cuda.current_stream(self.device).wait_stream(self.stream)

    @contextmanager
    def no_waiting(self) -> Iterator[None]:
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of a prototype
            torch.cuda.set_sync_debug_mode("error")
        try:
            with self.warm_up():
                yield
        finally:
            torch.cuda.set_sync_debug_mode(before)

    def capture(
        self, compute: Callable[[], Metrics], generators: Sequence[torch.Generator] = ()
    ) -> tuple[Callable[[], None], Metrics]:
        graph = torch.cuda.CUDAGraph()
        for generator in generators:
            graph.register_generator_state(generator)
        try:
            with no_garbage_collection(), torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
                results = compute()
        except Exception:
            # A failed capture leaves torch's generator in a state in which nothing can be drawn.
            generator = torch.cuda.default_generators[torch.cuda.current_device()]
            generator.graphsafe_set_state(torch.Generator(self.device))
            raise
        return graph.replay, results


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Collect garbage before and not within: to delete the graph of an earlier model ends a capture with an error."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class StaticBlock:
    """The steps of some minibatches, on memory that stays where it is.

    Args:
        take: What is executed for each minibatch.
        counter: The objective's `samples_seen`.
        block: K minibatches; all others must have their shapes and types.
        batch_size: Training samples of a minibatch, over all processes.
    """

    def __init__(self, take: Take, counter: Tensor, block: Inputs, batch_size: int) -> None:
        self.take, self.counter, self.batch_size = take, counter, batch_size
        # Minibatches are aligned alike, as rounding may depend on it.
        self.block = tuple([torch.empty_like(each) for each in part] for part in block)
        self.samples_seen = torch.zeros_like(counter)
        self.launched = False
        self.graph: Callable[[], None] | None = None
        self.results: Metrics = {}

    def fill(self, block: Inputs, samples_seen: int) -> None:
        """Set the data, and the training samples before them."""
        for memory, part in zip(self.block, block, strict=True):
            torch._foreach_copy_(memory, list(part))
        self.samples_seen.fill_(samples_seen)

    def launch(self) -> Metrics:
        """Take the steps one after the other; returns the metrics of each, (K,) each."""
        found = []
        for number, inputs in enumerate(zip(*self.block, strict=True)):
            self.counter.copy_(self.samples_seen + number * self.batch_size)
            found.append(self.take(inputs))
        return {name: torch.stack([metrics[name] for metrics in found]) for name in found[0]}

    def replay(self) -> Metrics:
        """Take the steps by the graph."""
        assert self.graph is not None
        self.graph()
        return {name: values.clone() for name, values in self.results.items()}  # the next replay overwrites them


class Captured(StepRunner):
    """Replays CUDA graphs of up to `STEPS` minibatches each.

    The first minibatches of a number and shape are launched step by step. The second ones are so, too, with an error
    where Python waits for the device; then their steps are captured and replayed, and parameters, buffers, the
    optimizer's state, metrics and the random generators' states must be the same. All later ones are replayed. Where
    steps cannot be captured, or results differ, the fallback takes over, and the log says why.

    A graph holds the settings it was captured with; when one changes between blocks, the phases start anew. Learning
    rates are tensors, and capture nothing anew.

    Launched and replayed steps execute the same kernels, with the optimizer in a form that can be captured. Where
    kernels are not deterministic, so that launching the same steps twice has two results that differ by rounding, those
    of a graph may do so, too, and the log says it.

    Args:
        step: What is executed.
        fallback: What replaces it.
        graphs: Of the device.
    """

    name = "captured"

    def __init__(self, step: TrainingStep, fallback: StepRunner, graphs: Graphs) -> None:
        super().__init__(step)
        self.fallback, self.graphs = fallback, graphs
        self.learning_rates, self.rates = rate_tensors(step), step.learning_rates()
        self.optimizer = self.capturable()
        self.settings: tuple[Any, ...] = ()
        self.blocks: dict[tuple[Any, ...], StaticBlock] = {}
        self.failed = False

    @property
    def active(self) -> StepRunner:
        return self.fallback.active if self.failed else self

    def run(self, block: Inputs, samples_seen: int, batch_size: int) -> Metrics:
        found: list[Metrics] = []
        done, total = 0, len(block[0])
        if not self.failed:
            self.follow_settings()
        with unvalidated_distributions():
            while not self.failed and done < total:
                taken = tuple(part[done : done + STEPS] for part in block)
                metrics = self.attempt(taken, samples_seen + done * batch_size, batch_size)
                if metrics is not None:
                    self.step.count_updates(len(taken[0]))
                    found.append(metrics)
                    done += len(taken[0])
        if done < total:
            rest = tuple(part[done:] for part in block)
            found.append(self.fallback.run(rest, samples_seen + done * batch_size, batch_size))
        return {name: torch.cat([metrics[name] for metrics in found]) for name in found[0]}

    def attempt(self, block: Inputs, samples_seen: int, batch_size: int) -> Metrics | None:
        """Take the steps of minibatches; None: they cannot be captured, and none has been taken."""
        static = self.static_block(block, batch_size)
        static.fill(block, samples_seen)
        if static.graph is not None:
            return static.replay()
        return self.capture(static) if static.launched else self.launch(static)

    def follow_settings(self) -> None:
        """Forget all graphs if a setting has changed since the last block, and set the learning rates."""
        self.move_counters(self.step.module.device)
        settings = self.step.settings()
        if settings != self.settings:
            self.settings = settings
            self.blocks.clear()
            self.optimizer = self.capturable()
        rates = self.step.learning_rates()
        for tensor, rate, before in zip(self.learning_rates, rates, self.rates, strict=True):
            if rate != before:
                tensor.fill_(rate)
        self.rates = rates

    def capturable(self) -> Optimizer:
        """The optimizer in a form that can be captured."""
        return with_tensor_rates(self.step.optimizer, self.learning_rates, {"capturable": True})

    def move_counters(self, device: torch.device) -> None:
        """Move the counts of the optimizer's steps to a device."""
        move_counters(self.step.optimizer, device)

    def own_generators(self) -> Sequence[torch.Generator]:
        """The generators that steps draw from, besides torch's own."""
        return ()

    def static_block(self, block: Inputs, batch_size: int) -> StaticBlock:
        """The memory for minibatches like those of a block; the oldest makes room for a new one."""
        key = (*shapes(block), batch_size)
        if key not in self.blocks:
            if len(self.blocks) == MAX_GRAPHS:
                del self.blocks[next(iter(self.blocks))]
            self.blocks[key] = StaticBlock(self.take, self.step.objective.samples_seen, block, batch_size)
        return self.blocks[key]

    def take(self, inputs: Inputs) -> Metrics:
        return self.step.bare(inputs, self.optimizer)

    def launch(self, static: StaticBlock) -> Metrics:
        """Take the steps of the first minibatches of a number and shape."""
        with self.graphs.warm_up():
            metrics = static.launch()
        static.launched = True
        self.move_counters(self.step.module.device)
        settings = self.step.settings()  # the optimizer's state exists now
        if settings[0] != self.settings[0]:
            self.fail("an attribute of the model or the objective changes in each step")
        self.settings = settings
        return metrics

    def capture(self, static: StaticBlock) -> Metrics | None:
        """Launch and capture the steps, and keep the results of launching them if both agree."""
        before = self.step.snapshot()
        try:
            self.before_capture(static)
            with self.graphs.no_waiting():
                metrics = static.launch()
            after = self.step.snapshot()
            self.step.restore(before)
            self.optimizer.zero_grad()
            static.graph, static.results = self.graphs.capture(static.launch, self.own_generators())
        except Exception as error:  # whatever cannot be captured, the steps themselves may be sound
            self.step.restore(before)
            self.fail(first_line(error))
            return None
        found = static.replay()
        if not self.agree([*after, *metrics.values()], [*self.step.snapshot(), *found.values()], before, static):
            self.fail("a graph's results differ")
        self.step.restore(after)
        self.optimizer.zero_grad()
        return metrics

    def before_capture(self, static: StaticBlock) -> None:
        """Called before steps are captured."""

    def agree(self, expected: list[Tensor], found: list[Tensor], before: list[Tensor], static: StaticBlock) -> bool:
        """Whether a replay ends at the state and the metrics that launching ends at."""
        if all(map(bitwise_equal, expected, found)):
            return True
        self.step.restore(before)
        with self.graphs.warm_up():
            metrics = static.launch()
        again = [*self.step.snapshot(), *metrics.values()]
        if all(map(bitwise_equal, expected, again)):
            return False
        starts = with_zeros(before, metrics)
        near = partial(nearly_equal, tolerance=tolerance(self.step))
        if not all(map(near, expected * 2, found + again, starts * 2)):
            return False
        reason = "kernels of this device are not deterministic"
        log.log(self.step.log_level, "%s: results are reproduced up to rounding", reason)
        return True

    def fail(self, reason: str) -> None:
        """Use the fallback from the next block on."""
        self.failed = True
        self.blocks.clear()
        if not any(group.get("fused") or group.get("capturable") for group in self.step.optimizer.param_groups):
            self.move_counters(torch.device("cpu"))
        log.log(self.step.log_level, "training steps are %s, not %s: %s", self.fallback.name, self.name, reason)


class CapturedProgram(Captured):
    """Replays CUDA graphs of steps that are one program each: forward pass, backward pass and update, compiled.

    The program must change each tensor as a launched step does, up to rounding. It is made for the second minibatches
    of a number and shape.
    """

    name = "compiled"

    def before_capture(self, static: StaticBlock) -> None:
        before, inputs = self.step.snapshot(), tuple(part[0] for part in static.block)
        program = Compilation(self.step, inputs, self.learning_rates).compile()
        self.step.restore(before)
        with self.graphs.warm_up():
            metrics = self.take(inputs)
        expected = [*self.step.snapshot(), *metrics.values()]
        self.step.restore(before)
        with self.graphs.warm_up():
            metrics = program.take(inputs)
        found = [*self.step.snapshot(), *metrics.values()]
        self.step.restore(before)
        near = partial(nearly_equal, tolerance=tolerance(self.step))
        if not all(map(near, expected, found, with_zeros(before, metrics))):
            raise NoProgramError("a program's results differ from those of a step")
        static.take = program.take


def rate_tensors(step: Any) -> list[Tensor]:
    """The learning rate of each group of a step's parameters; fused kernels read it as float32."""
    return [
        torch.tensor(rate, dtype=torch.float32 if group.get("fused") else torch.float64, device=step.module.device)
        for rate, group in zip(step.learning_rates(), step.optimizer.param_groups, strict=True)
    ]


def move_counters(optimizer: Optimizer, device: torch.device) -> None:
    """Move the counts of an optimizer's steps to a device."""
    for state in optimizer.state.values():
        if isinstance(state.get("step"), Tensor):
            state["step"] = state["step"].to(device)


def with_zeros(state: list[Tensor], metrics: Metrics) -> list[Tensor]:
    """What a state and metrics are compared with to tell by how much steps changed them."""
    return state + [torch.zeros_like(value) for value in metrics.values()]

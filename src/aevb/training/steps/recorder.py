"""Decides how a training step is taken: eagerly, or by a recording or compilation of one."""

import logging
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import Tensor, nn
from torch.optim import Optimizer

from aevb.distributed.strategy import DataParallel, all_ranks_agree, average_gradients, without_communication
from aevb.objectives import Objective
from aevb.vae import GenerativeModel, RecognitionModel

log = logging.getLogger("aevb")

Step = Callable[[Tensor], dict[str, Tensor]]

WARM_UP = 100
"""Minibatches before a step is recorded: recording takes as long as some hundred steps."""

CHECKS = 3
"""Minibatches whose step is taken both ways before the recording is relied on."""

TOLERANCE = 1e-3
"""By how much a compiled step may move a tensor otherwise than an eager one, as a part of how far that moves it."""

MAX_RECORDINGS = 5
"""A run whose settings keep changing is left to eager steps."""

HOOKS = ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step")

PLAIN = (bool, int, float, str, tuple, type(None))


class Recorder:
    """Takes the training steps of a module.

    The first steps are eager. One is then recorded (`aevb.training.steps.recording`), and the next ones are taken both
    ways: only if parameters, buffers, the optimizer's state, the metrics and the noise that was drawn agree to the last
    bit do recordings take over. Otherwise every step stays eager, and the log says why.

    Several processes record each its own step, in which their gradients are averaged, and replay it only if all can.

    With `compiled`, the step is compiled (`aevb.training.steps.compilation`) in place of recorded, and agrees if it
    is close.

    A recording holds for the settings that it was made with. When an attribute of a model's part or of the objective, a
    setting of the optimizer or the shape of the minibatch changes from one block to the next, another is made.

    Args:
        eager: The step as Lightning takes it.
        objective: Its estimate is minimised.
        models: The generative and the recognition model.
        optimizer: Of all parameters.
        recorded: Record steps.
        compiled: Compile steps; where that is not possible `recorded` rules, and the log says so once.
    """

    def __init__(
        self,
        eager: Step,
        objective: Objective,
        models: tuple[GenerativeModel, RecognitionModel],
        optimizer: LightningOptimizer,
        recorded: bool = True,
        compiled: bool = False,
    ) -> None:
        self.eager = eager
        self.objective, self.models = objective, models
        self.parts = nn.ModuleList([*models, objective])
        self.wrapped = optimizer
        self.optimizer: Optimizer = optimizer.optimizer
        self.recording: Any = None
        self.settings: tuple[Any, ...] = ()
        self.recorded_rates: list[float] = []
        self.steps = self.checks = self.recordings = 0
        self.recorded, self.compiled = recorded, compiled
        self.on = recorded or compiled

    def begin(self, x: Tensor) -> Step:
        """How to take the steps of a block (K, B, *data_shape); a recording made with other settings is forgotten."""
        if not self.on:
            return self.eager
        self.notice_changes(x[0])
        return self.replay if self.recording and self.checks == CHECKS else self.step

    def notice_changes(self, x: Tensor) -> None:
        """Forget the recording, and how many steps were taken, if anything that a recording takes for given changed."""
        settings = (x.shape, x.dtype, *self.current_settings())
        stale = self.recording and self.recording.fixed_rates and self.recorded_rates != self.rates()
        if not all_ranks_agree(settings == self.settings and not stale, x.device):
            self.settings, self.recording = settings, None
            self.steps = self.checks = 0

    def step(self, x: Tensor) -> dict[str, Tensor]:
        """Take a step in the way whose turn it is."""
        if not self.on or (self.recording is None and self.steps < WARM_UP):
            self.steps += 1
            return self.eager(x)
        if self.recording is None:
            self.notice_changes(x)  # a block may be longer than the warm-up
            return self.record(x) if self.steps else self.step(x)
        return self.replay(x) if self.checks == CHECKS else self.check(x)

    def replay(self, x: Tensor) -> dict[str, Tensor]:
        """The step by the recording; Lightning counts it as one of the optimizer's."""
        self.wrapped._on_before_step()
        metrics: dict[str, Tensor] = self.recording(x, self.rates())
        self.wrapped._on_after_step()
        return metrics

    def record(self, x: Tensor) -> dict[str, Tensor]:
        """Make a recording, and check it on the same minibatch."""
        from aevb.training.steps.recording import NotRecordableError  # what few short runs need is not waited for

        if self.recordings == MAX_RECORDINGS:
            return self.give_up(x, "the settings of the run change too often")
        self.recordings += 1
        self.recorded_rates = self.rates()
        before = self.snapshot()
        reason = "another process cannot"
        try:
            with without_communication():
                self.recording = self.make(x)
        except NotRecordableError as error:
            reason = str(error)
        self.restore(before)
        return self.check(x) if all_ranks_agree(self.recording is not None, x.device) else self.give_up(x, reason)

    def make(self, x: Tensor) -> Any:
        """A compilation or a recording."""
        if self.compiled:
            from aevb.training.steps.compilation import Compilation

            return Compilation(self.bare_step, x, self.state(), self.optimizer)
        from aevb.training.steps.recording import Recording

        groups = [group["params"] for group in self.optimizer.param_groups]
        return Recording(lambda x: self.bare_step(x, self.optimizer), x, self.state(), groups)

    def check(self, x: Tensor) -> dict[str, Tensor]:
        """Take the step both ways; an eager step's results are kept."""
        before = self.snapshot()
        replayed = self.recording(x, self.rates())
        after = self.snapshot()
        self.restore(before)
        metrics = self.eager(x)
        agree = nearly_same if self.compiled else same_bits
        same = all(agree(*tensors) for tensors in zip(self.snapshot(), after, before, strict=True)) and all(
            agree(value, replayed[name], torch.zeros_like(value)) for name, value in metrics.items()
        )
        if not all_ranks_agree(same, x.device):
            self.drop("one differed from the step")
            return metrics
        self.checks += 1
        if self.checks == CHECKS:
            self.optimizer.zero_grad()
        return metrics

    def give_up(self, x: Tensor, reason: str) -> dict[str, Tensor]:
        """Take this step eagerly, and the others in the next best way."""
        self.drop(reason)
        return self.eager(x)

    def drop(self, reason: str) -> None:
        """Record in place of compiling, or take all steps eagerly if it is recording that has failed."""
        self.recording, self.checks = None, 0
        if self.compiled:
            self.compiled, self.recordings, self.on = False, 0, self.recorded
            instead = "are recorded" if self.recorded else "run eagerly"
            log.info("training steps cannot be compiled; they %s (%s)", instead, reason)
        else:
            self.on = False
            log.info("training steps cannot be recorded; they run eagerly (%s)", reason)

    def bare_step(self, x: Tensor, optimizer: Optimizer) -> dict[str, Tensor]:
        """The step without Lightning."""
        for estimate in self.objective.estimates(*self.models, x):
            optimizer.zero_grad()
            estimate.loss.backward()
            average_gradients(self.parameters())
            optimizer.step()
        return estimate.metrics()

    def parameters(self) -> list[nn.Parameter]:
        """Those that are trained."""
        return [parameter for parameter in self.parts.parameters() if parameter.requires_grad]

    def rates(self) -> list[float]:
        """The step size of each group of parameters."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state(self) -> list[Tensor]:
        """All tensors that a step moves: parameters, buffers, the optimizer's state."""
        tensors = [*self.parts.parameters(), *self.parts.buffers()]
        kept = [value for state in self.optimizer.state.values() for value in state.values()]
        return tensors + [value for value in kept if isinstance(value, Tensor)]

    def snapshot(self) -> list[Tensor]:
        """Copies of the state and of the random generators' states."""
        with torch.no_grad():
            copies = [tensor.clone() for tensor in self.state()]
        return [*copies, *(get() for get, _ in self.generators())]

    def restore(self, snapshot: list[Tensor]) -> None:
        """Put everything back to where it was."""
        state, generators = self.state(), self.generators()
        with torch.no_grad():
            for tensor, copy in zip(state, snapshot, strict=False):
                tensor.copy_(copy)
        for (_, put), copy in zip(generators, snapshot[len(state) :], strict=True):
            put(copy)

    def generators(self) -> list[tuple[Callable[[], Tensor], Callable[[Tensor], None]]]:
        """How to get and to set the state of each random generator that a step may draw from."""
        found: list[tuple[Callable[[], Tensor], Callable[[Tensor], None]]]
        found = [(torch.get_rng_state, torch.set_rng_state)]
        if next(self.parts.parameters()).is_cuda:
            found.append((torch.cuda.get_rng_state, torch.cuda.set_rng_state))
        return found

    def current_settings(self) -> tuple[Any, ...]:
        """All that a recording takes for given: in Python's hands, and able to change."""
        attributes = [
            (name, value)
            for part in self.parts.modules()
            for name, value in vars(part).items()
            if isinstance(value, PLAIN)
        ]
        groups = [
            (name, value)
            for group in self.optimizer.param_groups
            for name, value in group.items()
            if name not in ("params", "lr")
        ]
        tensors = [(id(tensor), tensor.data_ptr(), tensor.requires_grad) for tensor in self.state()]
        return (attributes, groups, tensors)


def same_bits(expected: Tensor, got: Tensor, before: Tensor | None = None) -> bool:
    """Whether two tensors are equal, NaN included, whatever they were before the step."""
    same = torch.equal(expected.nan_to_num(), got.nan_to_num()) and torch.equal(expected.isnan(), got.isnan())
    return expected.dtype == got.dtype and same


def nearly_same(expected: Tensor, got: Tensor, before: Tensor) -> bool:
    """Whether two tensors were moved alike by a step, up to rounding: also a small step is compared with its like."""
    if not expected.is_floating_point() or not expected.isfinite().all():
        return same_bits(expected, got)
    rounding = 10 * torch.finfo(expected.dtype).eps * expected.norm()
    allowed = TOLERANCE * (expected - before).norm() + rounding
    return expected.dtype == got.dtype and bool((expected - got).norm() <= allowed)


def recordable(trainer: pl.Trainer, module: pl.LightningModule, objective: Objective, optimizer: Optimizer) -> bool:
    """Whether steps are such that one can stand for all.

    Not under mixed precision, nor where a callback looks at the gradients, nor for objectives that work longer on a
    minibatch.
    """
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    watched = any(is_overridden(hook, callback, pl.Callback) for callback in callbacks for hook in HOOKS)
    watched = watched or any(is_overridden(hook, module, pl.LightningModule) for hook in HOOKS)
    hooked = any(
        part._forward_hooks or part._forward_pre_hooks or part._backward_hooks or part._backward_pre_hooks
        for part in module.modules()
    )
    return (
        (trainer.world_size == 1 or isinstance(trainer.strategy, DataParallel))
        and trainer.precision in ("32-true", "64-true")
        and module.device.type in ("cpu", "cuda")
        and type(objective).estimates is Objective.estimates
        and all(isinstance(group["lr"], int | float) for group in optimizer.param_groups)
        and not (watched or hooked or torch.is_anomaly_enabled())
    )

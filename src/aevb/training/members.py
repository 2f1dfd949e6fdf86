"""Several runs trained together: the members of a run with `seeds=R`."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from pytorch_lightning.core.optimizer import do_nothing_closure
from torch import Tensor, nn
from torch.optim import Optimizer

from aevb.data.members import MemberLoader
from aevb.distributed.strategy import DataParallel
from aevb.errors import ConfigError
from aevb.runs.metrics import over_members
from aevb.training.averaging import AveragedWeights
from aevb.training.module import AEVB, evaluation
from aevb.training.noise import Noise, current_noise, restore_noise, seed_noise
from aevb.training.steps import Inputs
from aevb.training.steps.batched import Batched
from aevb.training.steps.capture import CudaGraphs
from aevb.training.steps.captured_members import BatchedInGraphs
from aevb.training.steps.verified import obstacle

log = logging.getLogger("aevb")

MOST_WEIGHTS = 200_000
"""Of a member, for which a CPU takes the steps of all members at once: more do not stay in its caches."""


class Members(AEVB):
    """R modules that differ in their seeds, and maybe in their learning rates, trained in lockstep.

    Each member has a model, an objective, an optimizer, a learning rate schedule, an order of the data and noise of its
    own. With `steps=auto` the steps of all members are batched operations where that is faster (on a GPU, and for small
    models on a CPU), with results that differ from those of R runs with these seeds by rounding. Else the members take
    a block of minibatches in turn, and the results are those of R runs to the last bit.

    Metrics of validation and test are means over members; `<metric>_se` is the standard error of the mean.

    The first member is this module itself: what looks at `vae` and `objective`, such as pictures, sees the first.

    Args:
        members: Of which only the first is attached to a trainer, through this module.
    """

    def __init__(self, members: Sequence[AEVB]) -> None:
        first, *others = members
        vars(self).update(vars(first))
        self.others = nn.ModuleList(others)
        self.averaged = AveragedWeights(self)
        self.batched: Batched | None = None
        """Takes the steps of all members at once, where this is faster."""
        self.noise: list[Noise] = []
        """States of the random generators between two turns of each member."""

    @property
    def members(self) -> list[AEVB]:
        return [self, *self.others]

    @contextmanager
    def turn(self, number: int) -> Iterator[AEVB]:
        """Let a member draw its own noise, and average its gradients alone over processes."""
        member, strategy = self.members[number], self.trainer.strategy
        restore_noise(self.noise[number], self.device)
        if isinstance(strategy, DataParallel):
            strategy.averaged = member.trained()
        try:
            yield member
        finally:
            if isinstance(strategy, DataParallel):
                strategy.averaged = None
            self.noise[number] = current_noise(self.device)

    def seed_noise(self, key: int | str) -> None:
        self.noise = []
        for member in self.members:
            seed_noise(member.seed, self.global_rank, key)
            self.noise.append(current_noise(self.device))

    def restore_noise(self, noise: Noise) -> None:
        each = len(noise) // len(self.members)
        self.noise = [noise[start : start + each] for start in range(0, len(noise), each)]

    def current_noise(self) -> Noise:
        return [state for noise in self.noise for state in noise]

    def configured_optimizers(self) -> list[Optimizer]:
        make: Callable[..., Optimizer] = self.fitting_form(self.make_optimizer)
        fused = {"fused": None} if make is not self.make_optimizer else {}
        return [member.make_optimizer(member.trained(), **fused) for member in self.members]

    def on_train_start(self) -> None:
        super().on_train_start()
        steps = [runner.step for runner in self.runners]
        weights = sum(weight.numel() for weight in self.trained())
        pays = self.device.type == "cuda" or weights <= MOST_WEIGHTS
        if self.steps != "auto" or not pays or obstacle(steps[0]) is not None:
            return
        if self.trainer.world_size > 1:
            log.info("the members take their steps in turn: several processes communicate within a step")
        else:
            on_gpu = self.device.type == "cuda"
            self.batched = BatchedInGraphs(steps, CudaGraphs(self.device)) if on_gpu else Batched(steps)

    def on_train_end(self) -> None:
        super().on_train_end()
        self.batched = None

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        """Take the steps of a block for each member.

        Returns:
            The metrics of each minibatch and member, (K, R) each, in nats per datapoint.
        """
        loader = self.trainer.train_dataloader
        if not isinstance(loader, MemberLoader):
            raise ConfigError("several members need a MemberLoader for their minibatches")
        optimizers: Any = self.optimizers()
        for optimizer in optimizers[1:]:  # an optimizer step of all members counts as one
            optimizer._on_before_step = optimizer._on_after_step = do_nothing_closure
        blocks = [self.blocks_from(part, loader) for part in batch]
        inputs = [self.truncate(block) for block in blocks]
        batch_size = inputs[0][0].shape[1] * self.trainer.world_size
        take = self.take_in_turn if self.batched is None or self.batched.failed else self.take_at_once
        metrics = take(inputs, batch_size)
        return self.end_block(metrics, batch_size, unused=len(blocks[0][0]) - len(inputs[0][0]))

    def take_in_turn(self, inputs: Sequence[Inputs], batch_size: int) -> dict[str, Tensor]:
        """Take the steps of a block of one member after the other; returns metrics (K, R)."""
        found = []
        for number, runner in enumerate(self.runners):
            with self.turn(number):
                found.append(runner.run(inputs[number], self.samples_seen, batch_size))
        return {name: torch.stack([metrics[name] for metrics in found], 1) for name in found[0]}

    def take_at_once(self, inputs: Sequence[Inputs], batch_size: int) -> dict[str, Tensor]:
        """Take the steps of a block of all members; returns metrics (K, R)."""
        assert self.batched is not None
        for generator, noise in zip(self.batched.generators, self.noise, strict=True):
            generator.set_state(noise[-1])
        metrics = self.batched.run(inputs, self.samples_seen, batch_size)
        for generator, noise in zip(self.batched.generators, self.noise, strict=True):
            noise[-1] = generator.get_state()
        return metrics

    def evaluation_metrics(self, *inputs: Tensor) -> dict[str, Tensor]:
        found = []
        for number in range(len(self.members)):
            with self.turn(number) as member:
                found.append(evaluation(member, *inputs).metrics())
        return {name: torch.stack([metrics[name] for metrics in found]) for name in found[0]}

    def log_evaluation(self, means: dict[str, Tensor]) -> None:
        self.member_means = means
        statistics = over_members({name: values.tolist() for name, values in means.items()})
        super().log_evaluation({name: torch.tensor(value) for name, value in statistics.items()})

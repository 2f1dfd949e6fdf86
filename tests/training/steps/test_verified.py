"""A program takes the step's place only where its results are those of eager steps."""

import logging
from functools import partial
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from aevb.objectives import SGVB
from aevb.training.steps import verified

from ...small import small_model
from .fitting import BLOCK, BLOCKS, HALVED, SHAPE, assert_same, train


class Deciding(SGVB):
    """Python looks at the loss."""

    def estimate(self, p, q, x):
        estimate = super().estimate(p, q, x)
        return estimate._replace(loss=estimate.loss * 2) if estimate.loss > 20 else estimate


class Counting(SGVB):
    """Something that only Python knows changes in each step."""

    count = 0

    def estimate(self, p, q, x):
        self.count += 1
        estimate = super().estimate(p, q, x)
        return estimate._replace(loss=estimate.loss * (1 + self.count))


class Drawing(SGVB):
    """Noise that is not torch's."""

    def __init__(self) -> None:
        super().__init__()
        self.draws = iter(range(1000))

    def estimate(self, p, q, x):
        estimate = super().estimate(p, q, x)
        return estimate._replace(loss=estimate.loss * torch.tensor(1.0 + next(self.draws)))


def test_what_cannot_be_recorded_stays_eager(caplog) -> None:
    caplog.set_level(logging.INFO, "aevb")
    model = partial(small_model, SHAPE)
    result = train(Deciding(), model, "adagrad")
    assert result[1].runner.active.name == "eager"
    assert [line for line in caplog.messages if line.startswith("training steps")] == [
        "training steps are eager, not recorded: Python reads the value of a tensor"
    ]
    assert_same(result, train(Deciding(), model, "adagrad", steps="eager"))


def test_settings_that_change_in_each_block_are_not_recorded() -> None:
    model = partial(small_model, SHAPE)
    result = train(Counting(), model, "adagrad")
    assert result[1].runner.programs == 0
    assert_same(result, train(Counting(), model, "adagrad", steps="eager"))


def test_foreign_noise_stays_eager(caplog) -> None:
    caplog.set_level(logging.INFO, "aevb")
    assert train(Drawing(), partial(small_model, SHAPE), "adagrad")[1].runner.active.name == "eager"
    assert [line for line in caplog.messages if "are eager, not recorded: one differed from the eager step" in line]


class Gradients(pl.Callback):
    """Looks at gradients before they are used."""

    def __init__(self) -> None:
        self.norms: list[float] = []

    def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
        self.norms.append(float(sum(weight.grad.norm() for weight in module.parameters())))


def test_steps_are_eager_where_gradients_are_looked_at() -> None:
    gradients = Gradients()
    _, watch, trainer = train(SGVB(), partial(small_model, SHAPE), "adagrad", callbacks=[gradients])
    assert watch.runner.name == "eager"
    assert len(gradients.norms) == trainer.global_step == 2 * BLOCKS * BLOCK


@pytest.mark.parametrize("optimizer", ["adagrad", "sgd"])
def test_learning_rate_may_change(optimizer: str) -> None:
    results = [
        train(SGVB(), partial(small_model, SHAPE), optimizer, steps, schedule=HALVED) for steps in ("recorded", "eager")
    ]
    assert_same(*results)
    assert results[0][1].runner.programs == (1 if optimizer == "adagrad" else 2)


class Freeze(pl.Callback):
    """The second epoch trains the generative model alone, with another β."""

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        if trainer.current_epoch == 1:
            module.vae.q.requires_grad_(False)
            module.objective.beta = 0.5


def test_settings_may_change() -> None:
    results = [
        train(SGVB(beta=2.0), partial(small_model, SHAPE), "adagrad", steps, callbacks=[Freeze()])
        for steps in ("recorded", "eager")
    ]
    assert_same(*results)
    assert results[0][1].runner.programs == 2


def test_a_smaller_last_minibatch_is_eager_and_the_rest_is_recorded() -> None:
    results = [train(SGVB(), partial(small_model, SHAPE), "adam", steps, last=7) for steps in ("recorded", "eager")]
    assert_same(*results)
    runner = results[0][1].runner
    assert (runner.programs, runner.verified, runner.aside) == (1, verified.VERIFICATION, True)


def test_minibatches_of_another_shape_have_a_new_record() -> None:
    class Halve(pl.Callback):
        """The second epoch has smaller minibatches."""

        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
            if trainer.current_epoch == 1:
                batch[0] = batch[0][:, :5]

    results = [
        train(SGVB(), partial(small_model, SHAPE), "adam", steps, callbacks=[Halve()])
        for steps in ("recorded", "eager")
    ]
    assert_same(*results)
    assert (results[0][1].runner.programs, results[0][1].runner.verified) == (2, verified.VERIFICATION)

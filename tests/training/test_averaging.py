"""Averaged weights: the recursion itself, whatever executes the steps, and what is evaluated, saved and resumed."""

from functools import partial

import pytest
import torch
from torch import nn

from aevb.objectives import SGVB, WakeSleep
from aevb.runs.load import load_run
from aevb.training.averaging import SLOT, averaging
from aevb.training.steps import verified

from ..small import small_model
from .steps.fitting import OPTIMIZERS, assert_same, train

MODEL = partial(small_model, (1, 4, 4))
TINY = ["max_samples=6000", "ema_decay=0.95", "logger=none", "callbacks.images=null", "model.encoder.hidden=[16]"]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_average_follows_its_recursion(optimizer):
    parameters, seen = [nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(2))], []
    one = OPTIMIZERS[optimizer](parameters)
    one.register_step_post_hook(lambda *_: seen.append([parameter.detach().clone() for parameter in parameters]))
    one.register_step_post_hook(averaging(0.9))
    for _ in range(20):
        one.zero_grad()
        sum((parameter**2).sum() for parameter in parameters).backward()
        one.step()
    expected = seen[0]
    for now in seen[1:]:
        expected = [0.9 * mean + 0.1 * parameter for mean, parameter in zip(expected, now, strict=True)]
    for parameter, mean in zip(parameters, expected, strict=True):
        torch.testing.assert_close(one.state[parameter][SLOT], mean)


@pytest.mark.parametrize(
    ("objective", "optimizer"), [(SGVB, "adagrad"), (SGVB, "adam"), (SGVB, "plain_sgd"), (WakeSleep, "adam")]
)
def test_recorded_steps_average_to_the_bit(monkeypatch, objective, optimizer):
    monkeypatch.setattr(verified, "WARM_UP", 3)
    eager, recorded = (train(objective(), MODEL, optimizer, steps, ema_decay=0.9) for steps in ("eager", "recorded"))
    assert recorded[1].runner.verified == verified.VERIFICATION
    assert_same(eager, recorded)
    assert any(SLOT in state for state in eager[2].optimizers[0].state.values())


@pytest.mark.slow
def test_compiled_steps_average(monkeypatch):
    monkeypatch.setattr(verified, "WARM_UP", 3)
    eager, compiled = (train(SGVB(), MODEL, "adam", steps, ema_decay=0.9) for steps in ("eager", "compiled"))
    if compiled[1].runner.active.name != "compiled":
        pytest.skip("there is no compiler")
    for (name, one), other in zip(
        eager[0].averaged.averages().items(), compiled[0].averaged.averages().values(), strict=True
    ):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-5, msg=name)


def test_training_does_not_see_the_average():
    plain, averaged = (train(SGVB(), MODEL, "adam", ema_decay=decay)[0] for decay in (None, 0.9))
    assert plain.averaged.averages() == {}
    averages = averaged.averaged.averages()
    for name, parameter in averaged.named_parameters():
        assert torch.equal(parameter, averages[name])  # after training
        assert not torch.equal(averaged.averaged.last[name], averages[name])
    averaged.averaged.take_out()
    for one, other in zip(plain.parameters(), averaged.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_average_is_validated_saved_tested_and_loaded(run_train):
    folder, _ = run_train(*TINY)
    _, last = folder.load_checkpoint("last")
    _, best = folder.load_checkpoint("best")
    averages = [state[SLOT] for state in last["optimizer_states"][0]["state"].values()]
    for (name, weight), average in zip(last["last_weights"].items(), averages, strict=True):
        assert torch.equal(last["state_dict"][name], average)
        assert not torch.equal(weight, average)
    loaded = load_run(folder.path).state_dict()
    assert all(
        torch.equal(loaded[name.removeprefix("vae.")], best["state_dict"][name]) for name in best["last_weights"]
    )
    # The reported bound is that of the weights in best.ckpt, on the validation set, by the noise of a validation.
    log = folder.log_file.read_text()
    assert "the moving average of the weights, decay 0.95" in log


@pytest.mark.slow
def test_a_resumed_run_averages_to_the_bit(run_train, tmp_path):
    whole, _ = run_train(*TINY, folder=tmp_path / "whole")
    part, _ = run_train(*TINY, "max_samples=2950", folder=tmp_path / "part")
    run_train(f"resume={part.path}", "max_samples=6000", folder=part.path)
    last = [folder.load_checkpoint("last")[1] for folder in (whole, part)]
    for key in ("state_dict", "last_weights"):
        for name, value in last[0][key].items():
            assert torch.equal(value, last[1][key][name]), name


def test_a_bad_decay_is_refused(run_train):
    with pytest.raises(ValueError, match=r"^ema_decay must be"):
        run_train("ema_decay=1.0")

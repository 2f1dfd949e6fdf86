"""Batched steps of several members: those of each member alone, up to rounding, for every kind of noise."""

import logging
import sys
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from aevb import likelihoods, networks, posteriors, priors
from aevb.data import BatchLoader
from aevb.data.members import MemberLoader
from aevb.objectives import IWAE, SGVB, BetaTCVAE, FullVB, MonteCarloEM, ScoreFunction, WakeSleep
from aevb.runs.load import weights_of_members
from aevb.training.members import Members
from aevb.training.module import AEVB
from aevb.training.steps import batched

from ...codes import code_model
from ...small import quiet_trainer, small_model
from .fitting import HALVED, OPTIMIZERS

SEEDS = (3, 4)
X = torch.randint(256, (60, 1, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
EM = partial(MonteCarloEM, num_starts=3, transitions=4, leapfrog_steps=1, updates=2)

CONVOLUTIONS: dict[str, Any] = {
    "encoder": partial(networks.ConvEncoder, channels=[2, 3], hidden=[4]),
    "decoder": partial(networks.ConvDecoder, channels=[3, 2], hidden=[4]),
}

CASES: dict[str, dict[str, Any]] = {
    "adagrad": {},
    "adam_clipped": {"optimizer": "adam", "options": {"gradient_clip_val": 0.1}},
    "momentum": {"optimizer": "sgd", "schedule": HALVED, "options": {"max_epochs": 2}},
    "warmed_up_kl": {"objective": partial(SGVB, beta_warmup_samples=90, free_bits=0.1)},
    "iwae": {"objective": partial(IWAE, gradient="dreg")},
    "draws_of_data": {"objective": WakeSleep},
    "averages": {"objective": ScoreFunction},
    "draws_of_weights": {"objective": FullVB},
    "uniform_noise": {"model": {"posterior": posteriors.Logistic}},
    "flow": {"model": {"posterior": posteriors.InverseAutoregressiveFlow}},
    "shared_encoder": {"model": {"prior": partial(priors.VampPrior, num_components=3)}},
    "fitted_variance": {"model": {"likelihood": likelihoods.OptimalGaussian}},
    "convolutions": {"model": CONVOLUTIONS},
    "convolutions_in_bf16": {"model": CONVOLUTIONS, "options": {"precision": "bf16-mixed"}},
    "coupling_layers": {"model": {"posterior": posteriors.SplineFlow}},
    "a_diagonal": {"objective": BetaTCVAE},
    "attention_to_codes": {"model": code_model},
}
BF16 = {"rtol": 0.1, "atol": 0.02}
"""Products of 8 bits, summed in another order, for six steps of Adagrad at a learning rate of 0.05."""


def fit(module: AEVB, loader: BatchLoader, options: dict[str, Any] | None = None) -> AEVB:
    trainer = quiet_trainer(**({"max_epochs": 1} | (options or {})))
    trainer.fit(module, loader)
    return module


def loader(seed: int) -> BatchLoader:
    return BatchLoader(X, batch_size=10, shuffle=True, seed=seed, block_size=3)


def member(seed: int, objective: Any = SGVB, model: Any = None, optimizer: str = "adagrad", **settings: Any) -> AEVB:
    torch.manual_seed(seed)
    vae = model() if callable(model) else small_model((1, 4, 4), **(model or {}))
    return AEVB(vae, objective(), OPTIMIZERS[optimizer], seed=seed, **settings)


def fit_both(options: dict[str, Any] | None = None, **settings: Any) -> tuple[list[dict[str, Tensor]], list[AEVB]]:
    module = Members([member(seed, **settings) for seed in SEEDS])
    fit(module, MemberLoader([loader(seed) for seed in SEEDS]), options)
    alone = [fit(member(seed, steps="eager", **settings), loader(seed), options) for seed in SEEDS]
    return weights_of_members(module.state_dict()), alone


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_batched_steps_are_those_of_each_member_up_to_rounding(name, caplog):
    caplog.set_level(logging.INFO, "aevb")
    found, alone = fit_both(**CASES[name])
    assert not [line for line in caplog.messages if "in turn" in line]
    tolerance = BF16 if "bf16" in name else {"rtol": 2e-3, "atol": 2e-4}
    for of_member, module in zip(found, alone, strict=True):
        for key, value in module.vae.state_dict().items():
            torch.testing.assert_close(of_member[key], value, **tolerance)


def test_what_cannot_be_batched_is_taken_in_turn_and_the_log_says_why(caplog):
    caplog.set_level(logging.INFO, "aevb")
    found, alone = fit_both(objective=EM)
    (line,) = [line for line in caplog.messages if "in turn" in line]
    assert line.startswith("the members take their steps in turn: ")
    for of_member, module in zip(found, alone, strict=True):
        assert all(torch.equal(of_member[key], value) for key, value in module.vae.state_dict().items())


def test_rounding_that_the_optimizer_amplifies_is_not_a_difference(monkeypatch, caplog):
    """Adagrad's first step has the size of the learning rate for a gradient of rounding alone."""
    products, over_members = (torch.ops.aten.mm.default, torch.ops.aten.addmm.default), batched.OverMembers.over_members

    def rounded(self: Any, n: Any) -> Any:
        value = over_members(self, n)
        if n.target in products:
            noise = torch.arange(float(value.numel())).cos().view_as(value)
            value = value + 1e-4 * value.square().mean().sqrt() * noise
        return value

    dark = X.clone()
    dark[..., 0, 0] = 0  # so the gradients of its weights are 0
    caplog.set_level(logging.INFO, "aevb")
    monkeypatch.setattr(sys.modules[__name__], "X", dark)
    monkeypatch.setattr(batched.OverMembers, "over_members", rounded)
    fit_both()
    assert not [line for line in caplog.messages if "in turn" in line]


def test_wrong_results_are_found_out(monkeypatch, caplog):
    caplog.set_level(logging.INFO, "aevb")
    monkeypatch.setattr(batched.OverMembers, "expanded", lambda self, n: batched.torch.zeros_like(self.env[n]))
    found, alone = fit_both()
    reason = "the members take their steps in turn: one step of all differs from those of each (loss of member 0: by 1"
    assert [line for line in caplog.messages if line.startswith(reason)]
    for of_member, module in zip(found, alone, strict=True):
        assert all(torch.equal(of_member[key], value) for key, value in module.vae.state_dict().items())


@pytest.mark.parametrize("optimizer", ["adagrad", "adam"])
def test_resumed_run_is_the_uninterrupted_one_bit_for_bit(optimizer, tmp_path):
    modules = []
    for epochs in ((2,), (1, 2)):
        for number, end in enumerate(epochs):
            module = Members([member(seed, optimizer=optimizer) for seed in SEEDS])
            trainer = quiet_trainer(max_epochs=end, enable_checkpointing=False)
            trainer.fit(
                module,
                MemberLoader([loader(seed) for seed in SEEDS]),
                ckpt_path=str(tmp_path / "last.ckpt") if number else None,
            )
            trainer.save_checkpoint(tmp_path / "last.ckpt")
        modules.append(module)
    for key, value in modules[0].state_dict().items():
        assert torch.equal(value, modules[1].state_dict()[key]), key

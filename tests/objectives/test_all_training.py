"""Every objective in the hands of the trainer: it learns, validates, and goes on from a checkpoint."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from aevb.objectives import (
    IWAE,
    SGVB,
    FactorVAE,
    FullVB,
    HamiltonianVAE,
    MonteCarloEM,
    Objective,
    ScoreFunction,
    WakeSleep,
)
from aevb.training.module import AEVB

from ..small import pair, quiet_trainer, small_model

OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "sgvb": SGVB,
    "sgvb_warm_up": partial(SGVB, beta_warmup_samples=1000, free_bits=0.1),
    "iwae": IWAE,
    "iwae_dreg": partial(IWAE, gradient="dreg"),
    "iwae_stl": partial(IWAE, gradient="stl"),
    "score_function": ScoreFunction,
    "score_function_learned": partial(ScoreFunction, baseline="learned"),
    "score_function_leave_one_out": partial(ScoreFunction, 2, "leave_one_out"),
    "wake_sleep": WakeSleep,
    "monte_carlo_em": partial(MonteCarloEM, num_starts=5, transitions=4, leapfrog_steps=3, evaluation_transitions=4),
    "full_vb": FullVB,
    "piwae": partial(IWAE, 2, num_groups=2, bound_of_p="all"),
    "factor": partial(FactorVAE, discriminator_units=10),
    "hamiltonian": partial(HamiltonianVAE, leapfrog_steps=2, inverse_temperature=0.9),
}
BATCH, BLOCK = 20, 5


def make_module(objective: Objective) -> AEVB:
    torch.manual_seed(0)
    objective.num_data = 400
    return AEVB(small_model((1, 4, 4)), objective, partial(torch.optim.Adagrad, lr=0.05))


def blocks() -> DataLoader:
    """Four blocks of minibatches: two patterns, and noise."""
    generator = torch.Generator().manual_seed(0)
    pattern = (torch.arange(16).view(1, 4, 4) % 2).float()
    sign = torch.randint(2, (4, BLOCK, BATCH, 1, 1, 1), generator=generator)
    noise = torch.rand((4, BLOCK, BATCH, 1, 4, 4), generator=generator) < 0.05
    x = torch.where(sign.bool(), pattern, 1 - pattern).logical_xor(noise).float()
    return DataLoader([(block,) for block in x], batch_size=None)


def validation() -> DataLoader:
    return DataLoader([(block.flatten(0, 1),) for (block,) in blocks()], batch_size=None)


def make_trainer(folder: Path, epochs: int) -> pl.Trainer:
    return quiet_trainer(max_epochs=epochs, default_root_dir=folder)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_training(name: str, tmp_path: Path) -> None:
    module = make_module(OBJECTIVES[name]())
    before = [weight.clone() for weight in module.vae.p.parameters()]
    own = [weight.clone() for weight in module.objective.parameters()]
    trainer = make_trainer(tmp_path, epochs=8)
    trainer.validate(module, validation(), verbose=False)
    first = {key: float(value) for key, value in trainer.callback_metrics.items()}
    trainer.fit(module, blocks(), validation())
    last = {key: float(value) for key, value in trainer.callback_metrics.items()}
    assert {"val/elbo", "val/log_likelihood", "val/kl"} <= last.keys()
    assert last["val/elbo"] > first["val/elbo"] + 0.3
    assert all(torch.tensor(value).isfinite() for value in last.values())
    weights = module.vae.p.parameters()
    assert all(not torch.equal(old, new) for old, new in zip(before, weights, strict=True))
    assert all(not torch.equal(old, new) for old, new in zip(own, module.objective.parameters(), strict=True))
    assert module.samples_seen == 8 * 4 * BLOCK * BATCH
    assert int(module.objective.samples_seen) == module.samples_seen - BATCH  # before the last minibatch


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_checkpoint_holds_all_that_the_objective_learned(name: str, tmp_path: Path) -> None:
    def fit(module: AEVB, epochs: int, checkpoint: Path | None = None) -> pl.Trainer:
        trainer = make_trainer(tmp_path, epochs)
        trainer.fit(module, blocks(), validation(), ckpt_path=checkpoint, weights_only=False)
        return trainer

    fit(make_module(OBJECTIVES[name]()), 1).save_checkpoint(tmp_path / "half.ckpt")
    resumed = make_module(OBJECTIVES[name]())
    fit(resumed, 2, tmp_path / "half.ckpt")
    whole = make_module(OBJECTIVES[name]())
    fit(whole, 2)
    assert resumed.samples_seen == whole.samples_seen
    for key, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key


def test_monte_carlo_em_steps_as_often_as_asked_and_leaves_the_encoder_alone(tmp_path: Path) -> None:
    module = make_module(
        MonteCarloEM(num_starts=5, transitions=4, leapfrog_steps=3, updates=3, evaluation_transitions=4)
    )
    encoder = [weight.clone() for weight in module.vae.q.parameters()]
    trainer = make_trainer(tmp_path, epochs=1)
    trainer.fit(module, blocks(), validation())
    assert trainer.global_step == 4 * BLOCK * 3
    assert module.samples_seen == 4 * BLOCK * BATCH
    assert all(torch.equal(old, new) for old, new in zip(encoder, module.vae.q.parameters(), strict=True))
    assert float(module.objective.step_size) != pytest.approx(0.1)


@pytest.mark.parametrize("objective", [FullVB(), ScoreFunction(baseline="learned")], ids=["full_vb", "learned"])
def test_unconnected_objective_raises(objective: Objective) -> None:
    p, q = pair(make_module(SGVB()).vae)
    with pytest.raises(RuntimeError, match=r"needs objective\.connect\(p, q\) first"):
        objective.estimate(p, q, torch.zeros(2, 1, 4, 4))


def test_full_variational_bayes_needs_the_size_of_the_training_set() -> None:
    module = make_module(FullVB())
    module.objective.num_data = None
    with pytest.raises(RuntimeError, match=r"objective\.FullVB needs objective\.num_data"):
        module.objective.evaluate(module.vae.p, module.vae.q, torch.zeros(2, 1, 4, 4))


def test_iwae_reports_its_bound_in_validation(tmp_path: Path) -> None:
    module = make_module(IWAE(10))
    trainer = make_trainer(tmp_path, epochs=1)
    trainer.validate(module, validation(), verbose=False)
    assert trainer.callback_metrics["val/iwae"] > trainer.callback_metrics["val/elbo"]


@pytest.mark.parametrize("num_data", [1397, 50_000])
def test_full_variational_bayes_at_the_size_of_digits_and_mnist(num_data: int) -> None:
    side = 8 if num_data < 2000 else 28
    p, q = pair(small_model((1, side, side), hidden=100, latent_dim=3))
    objective = FullVB()
    objective.num_data = num_data
    objective.connect(p, q)
    assert sum(scale.numel() for scale in objective.log_scales) == sum(weight.numel() for weight in p.parameters())
    estimate = objective(p, q, torch.rand(100, 1, side, side))
    estimate.loss.backward()
    assert all(weight.grad is not None for module in (p, q, objective) for weight in module.parameters())
    assert bool(estimate.loss.isfinite())

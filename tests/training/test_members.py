"""Several seeds trained at once: each member is the run of its seed."""

import csv
import math
from collections.abc import Callable
from functools import partial
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from aevb import load_run, priors
from aevb.data import BatchLoader
from aevb.data.members import MemberLoader
from aevb.errors import ConfigError, NonFiniteLossError, Stopped
from aevb.objectives import IWAE, SGVB, FullVB, MonteCarloEM, ScoreFunction, WakeSleep
from aevb.runs.folder import RunFolder
from aevb.runs.load import weights_of_members
from aevb.training.members import Members
from aevb.training.module import AEVB
from aevb.training.steps import verified

from ..compare import assert_same_end, weights
from ..small import quiet_trainer, small_model

TINY = ["max_samples=1500", "model.encoder.hidden=[8]", "logger=none", "callbacks.images=null", "seed=3"]
X = torch.randint(256, (120, 1, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
ADAGRAD = partial(torch.optim.Adagrad, lr=0.05, fused=True)
SHORT_CHAINS = partial(MonteCarloEM, num_starts=3, transitions=4, leapfrog_steps=1, updates=2)

CASES: dict[str, dict[str, Any]] = {
    "draws_of_the_data": {"binarize": True},
    "clipped_gradients": {"options": {"gradient_clip_val": 0.1}, "optimizer": partial(torch.optim.Adam, lr=0.01)},
    "schedule": {"schedule": partial(ReduceLROnPlateau, patience=0, factor=0.5)},
    "iwae": {"objective": partial(IWAE, gradient="dreg")},
    "wake_sleep": {"objective": WakeSleep},
    "score_function": {"objective": partial(ScoreFunction, baseline="learned")},
    "full_vb": {"objective": FullVB},
    "monte_carlo_em": {"objective": SHORT_CHAINS, "options": {"max_epochs": 1, "limit_train_batches": 1}},
    "vamp_prior": {"model": partial(small_model, prior=partial(priors.VampPrior, num_components=3))},
    "recorded_steps": {"steps": "recorded"},
}


def member(
    seed: int,
    objective: Callable[..., Any] = SGVB,
    model: Callable[..., Any] = small_model,
    optimizer: Callable[..., Any] = ADAGRAD,
    steps: str = "eager",
    **settings: Any,
) -> AEVB:
    torch.manual_seed(seed)
    return AEVB(model((1, 4, 4)), objective(), optimizer, seed=seed, steps=steps, **settings)


def fit(
    module: AEVB, seeds: list[int], binarize: bool = False, options: dict[str, Any] | None = None
) -> tuple[AEVB, Any]:
    loaders = [
        BatchLoader(X, batch_size=10, shuffle=True, seed=seed, block_size=5, binarize=binarize) for seed in seeds
    ]
    trainer = quiet_trainer(**({"max_epochs": 2, "num_sanity_val_steps": 0} | (options or {})))
    val = BatchLoader(X[:20], batch_size=10)
    trainer.fit(module, loaders[0] if len(seeds) == 1 else MemberLoader(loaders), val)
    return module, trainer


@pytest.mark.parametrize("name", CASES)
def test_each_member_is_the_run_of_its_seed(name, monkeypatch):
    monkeypatch.setattr(verified, "WARM_UP", 5)
    settings = dict(CASES[name])
    of_fit = {key: settings.pop(key) for key in ("binarize", "options") if key in settings}
    together, trainer = fit(Members([member(seed, **settings) for seed in (3, 4)]), [3, 4], **of_fit)
    found = weights_of_members(together.state_dict())
    elbos = together.member_means["val/elbo"].tolist()
    for number, seed in enumerate((3, 4)):
        alone, trainer_alone = fit(member(seed, **settings), [seed], **of_fit)
        for key, value in alone.vae.state_dict().items():
            assert torch.equal(value, found[number][key]), key
        assert float(trainer_alone.callback_metrics["val/elbo"]) == elbos[number]
        assert trainer_alone.global_step == trainer.global_step
    assert float(trainer.callback_metrics["val/elbo"]) == pytest.approx(fmean(elbos))
    assert float(trainer.callback_metrics["val/elbo_se"]) == pytest.approx(stdev(elbos) / math.sqrt(2))


def test_loss_that_is_not_finite_names_the_member():
    members = [member(seed, optimizer=partial(torch.optim.SGD, lr=lr)) for seed, lr in ((3, 0.01), (4, 1e30))]
    with pytest.raises(NonFiniteLossError, match=r"^the loss of member 1 became -?(nan|inf) at [\d,]+ samples; "):
        fit(Members(members), [3, 4])


def test_several_members_need_their_own_data():
    with pytest.raises(ConfigError, match="MemberLoader"):
        fit(Members([member(3), member(4)]), [3])


# Runs


def rows(folder: RunFolder, name: str) -> list[dict[str, str]]:
    with (folder.path / name).open() as file:
        return list(csv.DictReader(file))


def test_run_of_several_seeds(run_train, tmp_path):
    settings = [
        *TINY,
        "callbacks=curve",
        "callbacks.images=null",
        "callbacks.curve.first=500",
        "optimizer.lr=[0.01,0.1]",
    ]
    folder, value = run_train(*settings, "seeds=2", "steps=recorded", folder=tmp_path / "together")
    by_members = rows(folder, "members.csv")
    for row in rows(folder, "metrics.csv"):
        for name in ("val/elbo", "test/elbo", "curve/test_elbo"):
            if row.get(name):
                of = [float(r[name]) for r in by_members if r["samples"] == row["samples"] and r[name]]
                assert len(of) == 2
                assert float(row[name]) == pytest.approx(fmean(of))
                assert float(row[f"{name}_se"]) == pytest.approx(stdev(of) / math.sqrt(2), rel=1e-4)
    (train,) = [row["train/elbo_se"] for row in rows(folder, "metrics.csv") if row["train/elbo_se"]]
    assert float(train) > 0
    results = folder.status()["results"]
    assert results["val/elbo"] == value
    assert {"val/elbo_se", "test/elbo_se", "test/kl_se"} <= results.keys()

    alone, _ = run_train(*TINY, "seed=4", "optimizer.lr=0.1", "steps=recorded", folder=tmp_path / "alone")
    found, expected = weights_of_members(weights(folder))[1], weights_of_members(weights(alone))[0]
    assert all(torch.equal(expected[key], found[key]) for key in expected)

    first, second, default = (load_run(folder.path, **which) for which in ({"member": 0}, {"member": 1}, {}))
    x = torch.rand(2, 1, 8, 8)
    assert torch.equal(first.encode(x).mean, default.encode(x).mean)
    assert not torch.equal(first.encode(x).mean, second.encode(x).mean)
    with pytest.raises(ConfigError, match=r"^member must be from 0 to 1, the members of .*, got 2$"):
        load_run(folder.path, member=2)


def test_longer_run_equals_a_resumed_one(run_train, tmp_path):
    settings = [*TINY, "seeds=2", "max_samples=2500", "trainer.check_val_every_n_epoch=1", "data.binarization=dynamic"]
    whole, _ = run_train(*settings, folder=tmp_path / "whole")
    part, _ = run_train(*settings, "max_samples=500", folder=tmp_path / "part")
    run_train(f"resume={part.path}", "max_samples=2500", folder=part.path)
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(part)[name]), name


def test_run_that_failed_resumes_exactly(run_train, tmp_path, monkeypatch):
    settings = [*TINY, "seeds=2", "callbacks.checkpoint.every_samples=500", "callbacks.checkpoint.every_seconds=0"]
    settings += ["trainer.check_val_every_n_epoch=1", "max_samples=2700"]
    whole, _ = run_train(*settings, folder=tmp_path / "whole")
    monkeypatch.setattr(Members, "log_evaluation", failing_once(Members.log_evaluation, 2500))
    with pytest.raises(Stopped):
        run_train(*settings, folder=tmp_path / "part")
    part, _ = run_train(f"resume={tmp_path / 'part'}", folder=tmp_path / "part")
    assert_same_end(whole, part)
    assert rows(whole, "members.csv") == rows(part, "members.csv")


def failing_once(log_evaluation: Callable[..., None], samples: int) -> Callable[..., None]:
    failed = []

    def failing(self: Members, means: Any) -> None:
        log_evaluation(self, means)
        if self.samples_seen >= samples and not failed:
            failed.append(True)
            raise ZeroDivisionError

    return failing


OTHER_MODELS = {
    "sequences": ["data=array", "data.sequences=true", "data.path={sequences}", "model=deep_markov", "model.step_dim=2",
                  "model.posterior.width=4", "model.prior.hidden=[4]", "data.batch_size=20"],
    "autoregressive sequences": ["data=array", "data.path={sequences}", "model=storn", "model.step_dim=2",
                                 "model.posterior.width=4", "model.recurrent_width=4", "data.batch_size=20"],
    "labels": ["model=conditional"],
    "few labels": ["model=semi_supervised", "objective=semi_supervised", "data.num_labels=20", "optimizer=adam"],
    "average": ["ema_decay=0.9"],
    "dropout": ["model.encoder.dropout=0.3"],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("steps", ["recorded", "auto"])
@pytest.mark.parametrize("name", OTHER_MODELS)
def test_each_member_of_other_models_is_the_run_of_its_seed(name, steps, run_train, tmp_path):
    """To the bit in turn, up to rounding at once."""
    torch.manual_seed(0)
    x, lengths = torch.randint(2, (100, 2, 3)).float(), torch.randint(1, 3, (100,))
    np.savez(tmp_path / "sequences.npz", x=x.numpy(), lengths=lengths.numpy())
    settings = [setting.format(sequences=tmp_path / "sequences.npz") for setting in OTHER_MODELS[name]]
    settings = [*TINY, f"steps={steps}", "max_samples=500", *settings]
    together, _ = run_train(*settings, "seeds=2", folder=tmp_path / "together")
    alone, _ = run_train(*settings, "seed=4", folder=tmp_path / "alone")
    found, expected = weights_of_members(weights(together))[1], weights_of_members(weights(alone))[0]
    assert found.keys() == expected.keys()
    assert "take their steps in turn" not in (together.path / "train.log").read_text()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, msg=key, **({} if steps == "auto" else {"rtol": 0, "atol": 0}))

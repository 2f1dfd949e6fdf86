"""Recorded training steps: bit for bit the eager ones, and eager where they cannot be recorded."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins import MixedPrecision
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from aevb import likelihoods, posteriors, priors
from aevb.errors import ConfigError
from aevb.networks import ConvDecoder, ConvEncoder
from aevb.objectives import IWAE, SGVB, FullVB, MonteCarloEM, ScoreFunction, WakeSleep
from aevb.training.module import AEVB
from aevb.training.steps import verified
from aevb.vae import VAE

from ...small import quiet_trainer, small_model

SHAPE, BLOCK, BATCH, BLOCKS = (1, 4, 4), 5, 10, 4

OBJECTIVES: dict[str, Callable[[], Any]] = {
    "sgvb": SGVB,
    "sgvb_sampled_kl": partial(SGVB, num_samples=2, kl="sampled", weight_prior=False),
    "sgvb_warm_up": partial(SGVB, beta_warmup_samples=300, free_bits=0.1),
    "sgvb_beta": partial(SGVB, beta=2.0, free_bits=0.1, free_bits_per="datapoint"),
    "iwae": IWAE,
    "iwae_dreg": partial(IWAE, gradient="dreg"),
    "iwae_stl": partial(IWAE, gradient="stl"),
    "score_function": ScoreFunction,
    "score_function_learned": partial(ScoreFunction, baseline="learned"),
    "score_function_leave_one_out": partial(ScoreFunction, 2, "leave_one_out"),
    "wake_sleep": WakeSleep,
    "full_vb": FullVB,
    "monte_carlo_em": partial(MonteCarloEM, num_starts=3, transitions=4, leapfrog_steps=1, updates=2),
}
LIKELIHOODS = (
    "ContinuousBernoulli", "Gaussian", "ScalarGaussian", "FixedGaussian", "OptimalGaussian", "Laplace", "StudentT",
    "Beta", "Categorical", "DiscretizedLogisticMixture", "Poisson", "GaussianUniformMixture",
)  # fmt: skip
POSTERIORS = ("FullGaussian", "LowRankGaussian", "Laplace", "Logistic", "InverseAutoregressiveFlow", "SplineFlow")
PRIORS = ("Laplace", "StudentT", "MixtureOfGaussians", "VampPrior", "Flow")
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adagrad": partial(torch.optim.Adagrad, lr=0.05, fused=True),
    "adam": partial(torch.optim.Adam, lr=0.01, fused=True),
    "sgd": partial(torch.optim.SGD, lr=0.01, momentum=0.9),
    "plain_sgd": partial(torch.optim.SGD, lr=0.01),
}


HALVED = partial(LambdaLR, lr_lambda=lambda epoch: 1.0 - 0.5 * epoch)


def conv_model() -> VAE:
    layers: dict[str, Any] = {"channels": [3, 4], "hidden": [6]}
    return VAE(
        latent_dim=2,
        data_shape=(1, 8, 8),
        encoder=partial(ConvEncoder, **layers),
        posterior=posteriors.DiagonalGaussian,
        prior=priors.StandardNormal,
        decoder=partial(ConvDecoder, **layers),
        likelihood=likelihoods.Bernoulli,
    )


CASES: dict[str, tuple[Callable[[], Any], Callable[[], VAE], str]] = {
    **{name: (make, partial(small_model, SHAPE), "adagrad") for name, make in OBJECTIVES.items()},
    **{
        f"likelihood_{name}": (SGVB, partial(small_model, SHAPE, likelihood=getattr(likelihoods, name)), "adagrad")
        for name in LIKELIHOODS
    },
    **{
        f"posterior_{name}": (SGVB, partial(small_model, SHAPE, posterior=getattr(posteriors, name)), "adam")
        for name in POSTERIORS
    },
    **{f"prior_{name}": (SGVB, partial(small_model, SHAPE, prior=getattr(priors, name)), "adam") for name in PRIORS},
    "networks_conv": (SGVB, conv_model, "adagrad"),
    "optimizer_sgd": (SGVB, partial(small_model, SHAPE), "sgd"),
}


@pytest.fixture(autouse=True)
def short_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verified, "WARM_UP", 3)


class Watch(pl.Callback):
    """Keeps what training reports, and the runner."""

    def __init__(self) -> None:
        self.metrics: list[Tensor] = []
        self.runner: Any = None

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.metrics += [values.clone() for values in outputs.values()]
        self.runner = module.runner


def train(
    objective: Any,
    model: Callable[[], VAE],
    optimizer: str,
    steps: str = "recorded",
    options: Any = None,
    **settings: Any,
) -> tuple[AEVB, Watch, pl.Trainer]:
    torch.manual_seed(0)
    objective.num_data = 400
    callbacks = settings.pop("callbacks", [])
    module = AEVB(model(), objective, OPTIMIZERS[optimizer], steps=steps, **settings)
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(2, (BLOCKS, BLOCK, BATCH, *module.vae.p.data_shape), generator=generator).float()
    watch = Watch()
    trainer = quiet_trainer(max_epochs=2, callbacks=[watch, *callbacks], **(options or {}))
    trainer.fit(module, DataLoader([(block,) for block in x], batch_size=None))
    return module, watch, trainer


def assert_same(one: tuple[AEVB, Watch, pl.Trainer], other: tuple[AEVB, Watch, pl.Trainer]) -> None:
    (a, watch_a, trainer_a), (b, watch_b, trainer_b) = one, other
    states = [*a.state_dict().items()], [*b.state_dict().items()]
    for (name, left), (_, right) in zip(*states, strict=True):
        assert torch.equal(left, right), name
    for left, right in zip(watch_a.metrics, watch_b.metrics, strict=True):
        assert torch.equal(left, right)
    slots = [
        [value for state in trainer.optimizers[0].state.values() for value in state.values() if value is not None]
        for trainer in (trainer_a, trainer_b)
    ]
    assert all(torch.equal(left, right) for left, right in zip(*slots, strict=True))
    assert trainer_a.global_step == trainer_b.global_step


@pytest.mark.parametrize("name", CASES)
def test_recorded_steps_are_the_eager_ones(name: str) -> None:
    objective, model, optimizer = CASES[name]
    recorded = train(objective(), model, optimizer)
    watch = recorded[1]
    assert watch.runner.active.program is not None
    assert watch.runner.verified == verified.VERIFICATION
    assert_same(recorded, train(objective(), model, optimizer, steps="eager"))


@pytest.mark.parametrize(
    "options", [{"gradient_clip_val": 0.5}, {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"}]
)
@pytest.mark.parametrize("optimizer", ["adam", "plain_sgd"])
def test_gradients_are_clipped(options: dict[str, Any], optimizer: str) -> None:
    model = partial(small_model, SHAPE)
    torch.manual_seed(0)
    start = model().state_dict()
    recorded = train(SGVB(), model, optimizer, options=options)
    assert recorded[1].runner.verified == verified.VERIFICATION
    assert recorded[2].gradient_clip_val == options["gradient_clip_val"]
    assert_same(recorded, train(SGVB(), model, optimizer, "eager", options))
    if optimizer == "plain_sgd":
        moved = [(end - start[name]).flatten() for name, end in recorded[0].vae.state_dict().items()]
        norm = float("inf") if "gradient_clip_algorithm" in options else 2
        limit = 0.01 * options["gradient_clip_val"] * 2 * BLOCKS * BLOCK  # learning rate × limit × steps
        assert 0.25 * limit < float(torch.cat(moved).norm(norm)) < 1.0001 * limit


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_steps_are_recorded_in_each_precision(precision: str) -> None:
    model, options = partial(small_model, SHAPE), {"precision": precision, "gradient_clip_val": 1.0}
    recorded = train(SGVB(), model, "adagrad", options=options)
    assert recorded[1].runner.verified == verified.VERIFICATION
    assert_same(recorded, train(SGVB(), model, "adagrad", "eager", options))
    other = train(SGVB(), model, "adagrad", "eager", {"gradient_clip_val": 1.0})
    assert not all(torch.equal(a, b) for a, b in zip(recorded[0].parameters(), other[0].parameters(), strict=True))


def test_steps_are_eager_where_python_scales_the_loss(caplog) -> None:
    caplog.set_level(logging.INFO, "aevb")
    model = partial(small_model, SHAPE)
    # By its name, Lightning takes bf16 on a CPU.
    options = {"plugins": [MixedPrecision("16-mixed", "cpu")], "gradient_clip_val": 1.0}
    _, watch, trainer = train(SGVB(), model, "adagrad", options=options)
    assert watch.runner.name == "eager"
    assert not trainer.optimizers[0].defaults["fused"]
    assert all(values.isfinite().all() for values in watch.metrics)
    assert [line for line in caplog.messages if line.startswith("training steps")] == [
        "training steps are eager: with precision 16-mixed the scale of the loss is chosen in Python"
    ]


def test_gradients_are_not_accumulated() -> None:
    with pytest.raises(ConfigError, match=r"^trainer.accumulate_grad_batches must be 1: .*; got 2$"):
        train(SGVB(), partial(small_model, SHAPE), "adagrad", options={"accumulate_grad_batches": 2})


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
def test_step_size_may_change(optimizer: str) -> None:
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


class Dropped(nn.Module):
    """A body with dropout and running averages."""

    def __init__(self, body: nn.Module, features: int) -> None:
        super().__init__()
        self.body, self.drop, self.norm = body, nn.Dropout(0.2), nn.BatchNorm1d(features)
        self.out_shape = body.out_shape

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.drop(self.body(x)))


def dropped_model() -> VAE:
    made = small_model(SHAPE)
    made.q.encoder = Dropped(made.q.encoder, 10)
    return made


def test_noise_and_buffers_of_networks_are_recorded() -> None:
    results = [train(SGVB(), dropped_model, "adam", steps) for steps in ("recorded", "eager")]
    assert results[0][1].runner.verified == verified.VERIFICATION
    assert_same(*results)


COMPILED: dict[str, tuple[Callable[[], Any], Callable[[], VAE], str]] = {
    "sgvb": (SGVB, partial(small_model, SHAPE), "adagrad"),
    "iwae_of_a_gaussian": (IWAE, partial(small_model, SHAPE, likelihood=likelihoods.Gaussian), "adam"),
    "wake_sleep": (WakeSleep, partial(small_model, SHAPE), "sgd"),
    "noise_and_buffers_of_networks": (SGVB, dropped_model, "adam"),
}


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_steps_are_the_eager_ones_up_to_rounding(name: str, caplog) -> None:
    caplog.set_level(logging.INFO, "aevb")
    objective, model, optimizer = COMPILED[name]
    (module, watch, trainer), (other, watch_other, trainer_other) = [
        train(objective(), model, optimizer, steps) for steps in ("compiled", "eager")
    ]
    assert type(watch.runner.active.program).__name__ == "Compilation", caplog.messages
    assert watch.runner.verified == verified.VERIFICATION
    assert trainer.global_step == trainer_other.global_step
    torch.testing.assert_close(watch.metrics, watch_other.metrics, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(module.state_dict(), other.state_dict(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("optimizer", ["adagrad", "sgd"])
def test_compiled_steps_follow_the_step_size(optimizer: str) -> None:
    (module, watch, _), (other, _, _) = [
        train(SGVB(), partial(small_model, SHAPE), optimizer, steps, schedule=HALVED) for steps in ("compiled", "eager")
    ]
    assert watch.runner.programs == 1
    assert type(watch.runner.active.program).__name__ == "Compilation"
    torch.testing.assert_close(module.state_dict(), other.state_dict(), rtol=1e-3, atol=1e-4)


def test_steps_are_recorded_where_there_is_no_compiler(monkeypatch, caplog) -> None:
    def missing(*arguments: Any) -> None:
        raise RuntimeError("no compiler")

    caplog.set_level(logging.INFO, "aevb")
    monkeypatch.setattr(torch, "compile", lambda graph, **options: missing)
    found = train(SGVB(), partial(small_model, SHAPE), "adagrad", "compiled")
    assert [line for line in caplog.messages if "step" in line] == [
        "training steps are recorded, not compiled: no compiler"
    ]
    assert type(found[1].runner.active.program).__name__ == "Recording"
    assert_same(found, train(SGVB(), partial(small_model, SHAPE), "adagrad", "eager"))


@pytest.mark.parametrize("optimizer", ["adagrad", "sgd", "plain_sgd"])
def test_steps_are_recorded_where_compiled_ones_differ(optimizer: str, monkeypatch, caplog) -> None:
    def wrong(graph: Any, **options: Any) -> Callable[..., Any]:
        def run(x: Tensor, *state: Tensor) -> Any:
            before = [tensor.clone() for tensor in state]
            metrics = graph(x, *state)
            for tensor, value in zip(state, before, strict=True):
                if tensor.is_floating_point():
                    tensor += 0.01 * (tensor - value)
            return metrics

        return run

    caplog.set_level(logging.INFO, "aevb")
    monkeypatch.setattr(torch, "compile", wrong)
    found = train(SGVB(), partial(small_model, SHAPE), optimizer, "compiled")
    assert "training steps are recorded, not compiled: one differed from the eager step" in caplog.messages
    assert type(found[1].runner.active.program).__name__ == "Recording"
    assert_same(found, train(SGVB(), partial(small_model, SHAPE), optimizer, "eager"))

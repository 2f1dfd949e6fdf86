"""Recorded steps: to the last bit the eager ones, for every part that exists."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from pytorch_lightning.plugins import MixedPrecision
from torch import Tensor, nn

from aevb import likelihoods, posteriors, priors
from aevb.errors import ConfigError
from aevb.networks import Backbone, ConvDecoder, ConvEncoder, ConvPyramid, LastMaps, MLPDecoder, MLPEncoder
from aevb.objectives import (
    DIPVAE,
    IWAE,
    SGVB,
    BetaTCVAE,
    FactorVAE,
    FullVB,
    HamiltonianVAE,
    InfoVAE,
    MonteCarloEM,
    ScoreFunction,
    WakeSleep,
)
from aevb.training.steps import verified
from aevb.vae import VAE

from ...codes import code_model
from ...small import small_model
from .fitting import BLOCK, BLOCKS, SHAPE, assert_same, dropped_model, train

OBJECTIVES: dict[str, Callable[[], Any]] = {
    "sgvb": SGVB,
    "sgvb_sampled_kl": partial(SGVB, num_samples=2, kl="sampled", weight_prior=False),
    "sgvb_warm_up": partial(SGVB, beta_warmup_samples=300, free_bits=0.1),
    "sgvb_beta": partial(SGVB, beta=2.0, free_bits=0.1, free_bits_per="datapoint"),
    "sgvb_capacity": partial(SGVB, beta=3.0, capacity=2.0, capacity_samples=300),
    "iwae": IWAE,
    "iwae_groups": partial(IWAE, 3, num_groups=2, elbo_weight=0.5),
    "iwae_dreg": partial(IWAE, gradient="dreg"),
    "iwae_stl": partial(IWAE, gradient="stl"),
    "piwae": partial(IWAE, 2, num_groups=2, bound_of_p="all"),
    "score_function": ScoreFunction,
    "score_function_learned": partial(ScoreFunction, baseline="learned"),
    "score_function_leave_one_out": partial(ScoreFunction, 2, "leave_one_out"),
    "wake_sleep": WakeSleep,
    "tc": BetaTCVAE,
    "dip": DIPVAE,
    "info": InfoVAE,
    "factor": partial(FactorVAE, discriminator_units=10),
    "hamiltonian": partial(HamiltonianVAE, leapfrog_steps=2, inverse_temperature=0.9),
    "full_vb": FullVB,
    "monte_carlo_em": partial(MonteCarloEM, num_starts=3, transitions=4, leapfrog_steps=1, updates=2),
}
LIKELIHOODS = (
    "ContinuousBernoulli", "Gaussian", "ScalarGaussian", "FixedGaussian", "OptimalGaussian", "Laplace", "StudentT",
    "Beta", "Categorical", "DiscretizedLogisticMixture", "Poisson", "GaussianUniformMixture",
)  # fmt: skip
POSTERIORS = ("FullGaussian", "LowRankGaussian", "Laplace", "Logistic", "InverseAutoregressiveFlow", "SplineFlow")
CONDITIONAL = ("sgvb", "iwae_dreg", "score_function_learned", "wake_sleep", "tc", "info", "full_vb", "monte_carlo_em")
CONSTRAINED = {
    **{name: name for name in ("LogNormal", "Gamma", "Beta", "Dirichlet")},
    "PowerSpherical": "UniformSphere",
}


def discrete_model() -> VAE:
    """Of which a temperature falls from step to step."""
    posterior = partial(posteriors.Concrete, categories=3, halving_samples=500)
    return small_model(SHAPE, latent_dim=6, posterior=posterior, prior=partial(priors.Categorical, categories=3))


PRIORS = ("Laplace", "StudentT", "MixtureOfGaussians", "VampPrior", "Flow")


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


def conditional_model() -> VAE:
    parts: dict[str, Any] = {"hidden": [10], "condition_shape": (3,)}
    return small_model(SHAPE, encoder=partial(MLPEncoder, **parts), decoder=partial(MLPDecoder, **parts))


def layered_model(posterior: str, top: Any = priors.StandardNormal) -> VAE:
    maps: dict[str, Any] = {"halvings": (1, 2), "width": 4}
    shapes: dict[str, Any] = {"data_shape": (1, 8, 8), "latent_channels": (1, 2)}
    return VAE(
        latent_dim=16 + 8,
        data_shape=(1, 8, 8),
        encoder=partial(ConvPyramid, **maps),
        posterior=partial(getattr(posteriors, posterior), **maps, **shapes),
        prior=partial(priors.ConvTopDown, top=top, **maps, **shapes),
        decoder=partial(LastMaps, **maps),
        likelihood=likelihoods.Bernoulli,
        initialization="xavier",
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
    **{
        f"constrained_{posterior}": (
            SGVB,
            partial(small_model, SHAPE, posterior=getattr(posteriors, posterior), prior=getattr(priors, prior)),
            "adam",
        )
        for posterior, prior in CONSTRAINED.items()
    },
    **{f"prior_{name}": (SGVB, partial(small_model, SHAPE, prior=getattr(priors, name)), "adam") for name in PRIORS},
    **{f"{name}_conditional": (OBJECTIVES[name], conditional_model, "adagrad") for name in CONDITIONAL},
    "discrete": (SGVB, discrete_model, "adam"),
    "discrete_sampled_kl": (partial(SGVB, kl="sampled"), discrete_model, "adam"),
    "networks_conv": (SGVB, conv_model, "adagrad"),
    "layers_top_down": (SGVB, partial(layered_model, "ConvTopDown"), "adam"),
    "layers_ladder_vamp": (SGVB, partial(layered_model, "ConvLadder", priors.VampPrior), "adam"),
    "codes": (SGVB, code_model, "adam"),
    "codes_fsq": (SGVB, partial(code_model, "fsq"), "adam"),
    "optimizer_sgd": (SGVB, partial(small_model, SHAPE), "sgd"),
}


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


def test_noise_and_buffers_of_networks_are_recorded() -> None:
    results = [train(SGVB(), dropped_model, "adam", steps) for steps in ("recorded", "eager")]
    assert results[0][1].runner.verified == verified.VERIFICATION
    assert_same(*results)


class LongShortTermMemory(Backbone):
    """Over the rows of an image."""

    def __init__(self, data_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.lstm, self.out_shape = nn.LSTM(data_shape[-1], 5, batch_first=True), (5,)

    def forward(self, x: Tensor) -> Tensor:
        states: Tensor = self.lstm(x.flatten(0, -3))[0]
        return states[:, -1].view(*x.shape[:-3], 5)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="oneDNN computes the LSTM")
def test_steps_that_cannot_be_replayed_are_eager(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aevb")
    model = partial(small_model, SHAPE, encoder=LongShortTermMemory)
    assert_same(train(SGVB(), model, "adam"), train(SGVB(), model, "adam", steps="eager"))
    assert [line for line in caplog.messages if line.startswith("training steps are eager, not recorded: ")]

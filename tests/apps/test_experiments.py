"""Every experiment and every sweep composes, can be built, and has the settings of its source."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from aevb.apps.assembly import build_module
from aevb.config import instantiate, require_allowed

CONF = Path(__file__).parents[2] / "conf"


def composed(*overrides, **options):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", list(overrides), **options)


PAPER = {
    "data.batch_size": 100,
    "data.binarization": "none",
    "model.encoder.activation": "tanh",
    "model.posterior._target_": "aevb.posteriors.DiagonalGaussian",
    "model.prior._target_": "aevb.priors.StandardNormal",
    "model.initialization": "normal",
    "model.initialization_std": 0.1,
    "objective._target_": "aevb.objectives.SGVB",
    "objective.num_samples": 1,
    "objective.weight_prior": True,
    "optimizer._target_": "torch.optim.Adagrad",
    "optimizer.lr": None,
    "learning_rate_search.candidates": [0.01, 0.02, 0.1],
    "schedule": None,
    "max_samples": 100_000_000,
    "callbacks.curve._target_": "aevb.training.callbacks.Curve",
}
MNIST = PAPER | {
    "data._target_": "aevb.data.MNIST",
    "model.likelihood._target_": "aevb.likelihoods.Bernoulli",
    "model.encoder.hidden": [500],
    "model.decoder.hidden": [500],
}
FREYFACE = PAPER | {
    "data._target_": "aevb.data.FreyFace",
    "model.likelihood._target_": "aevb.likelihoods.Gaussian",
    "model.encoder.hidden": [200],
    "model.decoder.hidden": [200],
}
IWAE = {
    "data._target_": "aevb.data.MNIST",
    "data.batch_size": 20,
    "data.binarization": "dynamic",
    "model.encoder.hidden": [200, 200],
    "model.encoder.activation": "tanh",
    "model.initialization": "xavier",
    "objective._target_": "aevb.objectives.IWAE",
    "objective.weight_prior": False,
    "optimizer._target_": "torch.optim.Adam",
    "optimizer.lr": 0.001,
    "optimizer.betas": [0.9, 0.999],
    "optimizer.eps": 1e-4,
    "schedule._target_": "aevb.training.schedules.Burda",
    "schedule.stages": 8,
    "max_samples": 50_000 * sum(3**i for i in range(8)),
}
JSB = {
    "data._target_": "aevb.data.JSB",
    "data.batch_size": 20,
    "trainer.gradient_clip_val": 10,
    "model.likelihood._target_": "aevb.likelihoods.Bernoulli",
}
KINGMA_2014 = {"model.latent_dim": 50, "model.encoder.activation": "softplus"}
FEW_LABELS = {
    "data.num_labels": 100,
    "objective._target_": "aevb.objectives.SemiSupervised",
    "model.encoder.hidden": [500],
    "model.decoder.hidden": [500],
}
EXPERIMENTS = {
    "aevb_figure2_mnist": MNIST,
    "aevb_figure2_freyface": FREYFACE,
    "aevb_figure3": MNIST
    | {
        "model.latent_dim": 3,
        "model.encoder.hidden": [100],
        "model.decoder.hidden": [100],
        "callbacks.curve.estimator._target_": "aevb.estimators.PosteriorHMC",
        "callbacks.curve.estimator.leapfrog_steps": 4,
        "callbacks.curve.datapoints": 1000,
    },
    "aevb_figure4_mnist": MNIST | {"model.latent_dim": 2},
    "aevb_figure4_freyface": FREYFACE | {"model.latent_dim": 2},
    "aevb_figure5": MNIST,
    "iwae_table1": IWAE | {"model.latent_dim": 50, "model.decoder.hidden": [200, 200]},
    "iwae_table1_two_layers": IWAE
    | {
        "model.latent_dims": [100, 50],
        "model.latent_dim": 150,
        "model.posterior._target_": "aevb.posteriors.BottomUp",
        "model.posterior.hidden": [100, 100],
        "model.prior.hidden": [100, 100],
        "model.decoder.decoder.hidden": [200, 200],
    },
    "jsb_deep_markov": JSB
    | {"model.posterior._target_": "aevb.posteriors.Markov", "model.prior._target_": "aevb.priors.Markov"},
    "jsb_storn": JSB | {"model.posterior._target_": "aevb.posteriors.IndependentSteps", "model.recurrent_width": 100},
    "freyface_video": {
        "data._target_": "aevb.data.FreyFaceVideo",
        "model.prior._target_": "aevb.priors.Markov",
        "model.posterior.reads": "step",
    },
    "m1_mnist": KINGMA_2014
    | {
        "data._target_": "aevb.data.MNIST",
        "model.encoder.hidden": [600, 600],
        "model.decoder.hidden": [600, 600],
        "model.likelihood._target_": "aevb.likelihoods.Bernoulli",
    },
    "m2_mnist": KINGMA_2014
    | FEW_LABELS
    | {
        "data._target_": "aevb.data.MNIST",
        "model.latent_dim": 5,
        "model.classifier.backbone._target_": "aevb.networks.ConvEncoder",
        "model.likelihood._target_": "aevb.likelihoods.Bernoulli",
    },
    "m1_m2_mnist": KINGMA_2014
    | FEW_LABELS
    | {
        "data._target_": "aevb.runs.encoded.Encoded",
        "model.likelihood._target_": "aevb.likelihoods.Gaussian",
        "model.latent_dim": 10,
    },
    "conditional_mnist": {
        "data.condition": "labels",
        "data.binarization": "dynamic",
        "model.decoder.condition_shape": [10],
        "model.likelihood._target_": "aevb.likelihoods.Bernoulli",
    },
    "hyperspherical_mnist": {
        "data._target_": "aevb.data.MNIST",
        "data.binarization": "dynamic",
        "model.latent_dim": 11,
        "model.posterior._target_": "aevb.posteriors.PowerSpherical",
        "model.prior._target_": "aevb.priors.UniformSphere",
    },
    "concrete_mnist": {
        "data.binarization": "static",
        "model.latent_dim": 200,
        "model.posterior._target_": "aevb.posteriors.Concrete",
        "model.prior._target_": "aevb.priors.Categorical",
    },
    "vq_mnist": {
        "data.binarization": "static",
        "model.latent_dim": 256,
        "model.posterior._target_": "aevb.posteriors.Quantized",
        "model.prior._target_": "aevb.priors.Codes",
        "model.prior.quantizer.num_codes": 64,
    },
    "melody": {
        "data._target_": "aevb.data.Melodies",
        "data.collections": ["bach"],
        "objective.beta": 0.2,
        "objective.free_bits_per": "datapoint",
        "model.likelihood._target_": "aevb.likelihoods.RecurrentTokens",
    },
    "topics_reuters": {
        "data._target_": "aevb.data.Documents",
        "model.posterior._target_": "aevb.posteriors.Dirichlet",
        "model.prior._target_": "aevb.priors.Dirichlet",
        "model.likelihood._target_": "aevb.likelihoods.Multinomial",
    },
    "top_down_conv_mnist": {
        "data._target_": "aevb.data.MNIST",
        "data.binarization": "dynamic",
        "model.posterior._target_": "aevb.posteriors.ConvTopDown",
        "model.prior.top._target_": "aevb.priors.StandardNormal",
    },
}
OF_DATA = {
    "m2_mnist": ["model.condition_shape=[10]"],
    "m1_m2_mnist": [
        "data.run=here",
        "data.shape=[1,1,50]",
        "model.condition_shape=[10]",
        "model.likelihood.bounded=false",
    ],
    "conditional_mnist": ["model.condition_shape=[10]"],
    "melody": ["data.shape=[32]"],
}
"""What an experiment is told, or fills in from its data."""
SWEEPS = {
    "figure2_mnist": ("aevb_figure2_mnist", {"model.latent_dim": "3,5,10,20,200", "objective": "sgvb,wake_sleep"}),
    "figure2_freyface": ("aevb_figure2_freyface", {"model.latent_dim": "2,5,10,20", "objective": "sgvb,wake_sleep"}),
    "figure3": ("aevb_figure3", {"data.train_size": "1000,50000", "objective": "sgvb,wake_sleep,monte_carlo_em"}),
    "figure5": ("aevb_figure5", {"model.latent_dim": "2,5,10,20"}),
    "iwae_table1": ("iwae_table1", {"objective.num_samples": "1,5,50"}),
    "iwae_table1_vae": (
        "iwae_table1",
        {"objective": "sgvb", "objective.kl": "sampled", "objective.num_samples": "1,5,50"},
    ),
    "iwae_table1_two_layers": ("iwae_table1_two_layers", {"objective.num_samples": "1,5,50"}),
    "iwae_table1_two_layers_vae": (
        "iwae_table1_two_layers",
        {"objective": "sgvb", "objective.kl": "sampled", "objective.num_samples": "1,5,50"},
    ),
    "freyface_video": ("freyface_video", {"model": "deep_markov,static"}),
    "m2_mnist": ("m2_mnist", {"data.split_seed": "0,1,2,3,4"}),
    "m1_m2_mnist": ("m1_m2_mnist", {"data.split_seed": "0,1,2,3,4"}),
    "conditional_mnist": ("conditional_mnist", {"model": "conditional,bernoulli"}),
}


def test_every_experiment_is_here():
    assert {path.stem for path in (CONF / "experiment").glob("*.yaml")} == set(EXPERIMENTS)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiment_has_the_settings_of_its_source(experiment):
    config = composed(f"experiment={experiment}", "paths.run=here", *OF_DATA.get(experiment, []))
    for key, value in EXPERIMENTS[experiment].items():
        assert OmegaConf.select(config, key, throw_on_missing=True) == value, key
    require_allowed(config)
    build_module(config)
    if "curve" in config.callbacks:
        instantiate(config.callbacks.curve)


@pytest.mark.parametrize("sweep", SWEEPS)
def test_sweep_varies_the_settings_of_the_figure(sweep):
    experiment, params = SWEEPS[sweep]
    config = composed(f"sweep={sweep}", return_hydra_config=True)
    assert config.hydra.mode.name == "MULTIRUN"
    assert config.hydra.sweeper.params == params
    assert config.hydra.runtime.choices.experiment == experiment
    parsed = OverridesParser.create().parse_overrides([f"{key}={value}" for key, value in params.items()])
    for index in (0, -1):
        job = [
            f"{override.key_or_group}={list(override.sweep_string_iterator())[index]}"
            if override.is_sweep_override()
            else str(override.input_line)
            for override in parsed
        ]
        of_data = [] if "model=bernoulli" in job else OF_DATA.get(experiment, [])
        build_module(composed(f"sweep={sweep}", *of_data, *job))

"""A small model, a trainer that says and writes nothing, and the choices of the paper."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytorch_lightning as pl

from aevb.likelihoods import Bernoulli, Likelihood
from aevb.networks import Backbone, FirstLayer, LastState, MLPDecoder, MLPEncoder
from aevb.posteriors import DiagonalGaussian, Ladder, RecognitionHead, TopDown
from aevb.priors import Hierarchical, Prior, StandardNormal
from aevb.priors import TopDown as TopDownPrior
from aevb.vae import VAE, GenerativeModel, RecognitionModel

PAPER = ["model=bernoulli", "model.latent_dim=2", "optimizer=adagrad"]
"""The paper's model and optimizer in place of those of `data=digits`."""


def small_model(
    data_shape: tuple[int, ...],
    hidden: int = 10,
    latent_dim: int = 2,
    likelihood: Callable[..., Likelihood] = Bernoulli,
    posterior: Callable[..., RecognitionHead] = DiagonalGaussian,
    prior: Callable[..., Prior] = StandardNormal,
    decoder: Callable[..., Backbone] | None = None,
    encoder: Callable[..., Backbone] | None = None,
) -> VAE:
    return VAE(
        latent_dim=latent_dim,
        data_shape=data_shape,
        encoder=encoder or partial(MLPEncoder, hidden=[hidden]),
        posterior=posterior,
        prior=prior,
        decoder=decoder or partial(MLPDecoder, hidden=[hidden]),
        likelihood=likelihood,
    )


def shared_model(name: str, data_shape: tuple[int, ...]) -> VAE:
    """Two layers, z_1 and z_2, whose posterior shares the prior's network: `ladder` or `top_down`."""
    layers = {"latent_dims": (2, 1), "hidden": (4,)}
    heads: dict[str, tuple[Any, Any, Any]] = {
        "ladder": (
            Ladder,
            Hierarchical,
            partial(FirstLayer, latent_dims=(2, 1), decoder=partial(MLPDecoder, hidden=[4])),
        ),
        "top_down": (
            partial(TopDown, width=4),
            partial(TopDownPrior, width=4),
            partial(LastState, width=4, decoder=partial(MLPDecoder, hidden=[4])),
        ),
    }
    posterior, prior, decoder = heads[name]
    return small_model(
        data_shape,
        latent_dim=3,
        posterior=partial(posterior, **layers),
        prior=partial(prior, **layers),
        decoder=decoder,
    )


def pair(vae: VAE) -> tuple[GenerativeModel, RecognitionModel]:
    return vae.p, vae.q


def quiet_trainer(**options: Any) -> pl.Trainer:
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    return pl.Trainer(**({"accelerator": "cpu"} | quiet | options))

"""Convolutional posteriors against the linear-Gaussian model of `test_hierarchical`, one for each pixel."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aevb import priors
from aevb.networks import ConvPyramid, LastMaps, MLPEncoder
from aevb.objectives.base import elbo
from aevb.posteriors import ConvLadder, ConvTopDown
from aevb.vae import VAE

from ..ppca import FixedNoise
from ..small import small_model
from .test_hierarchical import NOISE, ONE, PROJECTION, SIGMA, SIGMA_1, A, D, W, X, data, top_of_x

SIDE, WIDTH = 2, 2 * D
MAPS: dict[str, Any] = {"data_shape": (X, SIDE, SIDE), "latent_channels": (D, D), "halvings": (0, 0)}
ZERO = torch.zeros(D, D, dtype=torch.float64)
IDENTITY = torch.eye(D, dtype=torch.float64)


def set_pixelwise(layer: nn.Module, weight: Tensor, bias: Tensor | float = 0.0) -> None:
    """Let a convolution be the same linear map at each pixel."""
    assert isinstance(layer, nn.Conv2d)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[..., layer.kernel_size[0] // 2, layer.kernel_size[1] // 2] = weight
        layer.bias.copy_(torch.as_tensor(bias, dtype=torch.float64).expand(len(weight)))


def set_gaussian(maps: Any, weight: Tensor, variance: Tensor) -> None:
    bias = torch.cat([torch.zeros(D, dtype=torch.float64), variance.log()])
    set_pixelwise(maps.layer, torch.cat([weight, torch.zeros_like(weight)]), bias)


def model(posterior: Any) -> VAE:
    """The state is [A z_2, z_1], the encoder's maps [0, x̃]."""
    torch.manual_seed(0)
    settings = {"width": WIDTH, "blocks": 0}
    vae = VAE(
        latent_dim=2 * D * SIDE**2,
        data_shape=MAPS["data_shape"],
        encoder=partial(ConvPyramid, halvings=MAPS["halvings"], **settings),
        posterior=partial(posterior, **MAPS, **settings),
        prior=partial(priors.ConvTopDown, **MAPS, **settings),
        decoder=partial(LastMaps, halvings=MAPS["halvings"], width=WIDTH),
        likelihood=partial(FixedNoise, sigma=SIGMA),
        initialization="xavier",
    ).double()
    p, q = vae.p.prior, vae.q.head
    set_pixelwise(p.inputs[1], torch.cat([torch.diag(A), ZERO]))
    set_pixelwise(p.inputs[0], torch.cat([ZERO, IDENTITY]))
    set_gaussian(p.conditionals[0], torch.cat([IDENTITY, ZERO], 1), SIGMA_1**2 * ONE)
    set_pixelwise(vae.p.head.layer, torch.cat([torch.zeros(X, D, dtype=torch.float64), W], 1))
    set_pixelwise(vae.q.encoder.stages[0][0], torch.cat([torch.zeros(D, X, dtype=torch.float64), PROJECTION.T]))
    for features in q.features:
        set_pixelwise(features, torch.eye(WIDTH, dtype=torch.float64))
    weight, variance = top_of_x()
    set_gaussian(q.updates[1], torch.cat([ZERO, weight @ W], 1), variance)  # of x̃, as Wᵀ PROJECTION is the identity
    if posterior is ConvLadder:
        set_gaussian(q.updates[0], torch.cat([ZERO, IDENTITY], 1), NOISE)
    else:
        precision = 1 / NOISE + 1 / SIGMA_1**2
        gain = torch.diag(1 / NOISE / precision)
        set_gaussian(q.updates[0], torch.cat([-gain, gain], 1), 1 / precision / SIGMA_1**2)
    return vae


def images(n: int) -> tuple[Tensor, Tensor]:
    """x (n, X, 2, 2) with independent pixels, and log p(x)."""
    pixels, log_marginal = data(n * SIDE**2)
    x = pixels.view(n, SIDE, SIDE, X).movedim(-1, 1).contiguous()
    return x, log_marginal.view(n, -1).sum(1)


@pytest.mark.parametrize("posterior", [ConvTopDown, ConvLadder])
def test_exact_posterior_is_contained(posterior: Any) -> None:
    """log p(x, z) − log q(z|x) is log p(x) at every draw, and so is the bound with the conditional KL on average."""
    vae, (x, log_marginal) = model(posterior), images(200)
    z = vae.q(x).sample((5,))
    torch.testing.assert_close(vae.p.log_joint(x, z) - vae.q(x).log_prob(z), log_marginal.expand(5, -1))
    with torch.no_grad():
        bound = elbo(vae.p, vae.q, x, num_samples=1000).elbo
    assert abs((bound - log_marginal).mean()) < 0.02


SMALL: dict[str, Any] = {"latent_channels": (1, 2), "halvings": (1, 2), "width": 4, "growth": 2}


def small(top: Any = priors.StandardNormal, posterior: Any = ConvTopDown, encoder: Any = None) -> VAE:
    return VAE(
        latent_dim=16 + 8,
        data_shape=(1, 8, 8),
        encoder=encoder or partial(ConvPyramid, halvings=(1, 2), width=4, growth=2),
        posterior=partial(posterior, data_shape=(1, 8, 8), **SMALL),
        prior=partial(priors.ConvTopDown, data_shape=(1, 8, 8), top=top, **SMALL),
        decoder=partial(LastMaps, halvings=(1, 2), width=4),
        likelihood=small_model((1, 8, 8)).p.head.__class__,
        initialization="xavier",
    )


@pytest.mark.parametrize("posterior", [ConvTopDown, ConvLadder])
def test_training_starts_at_the_prior(posterior: Any) -> None:
    vae, x = small(posterior=posterior), torch.rand(3, 1, 8, 8)
    estimate = elbo(vae.p, vae.q, x)
    if posterior is ConvTopDown:
        torch.testing.assert_close(estimate.kl, torch.zeros(3))
    else:  # the product of N(0, I) and N(0, I) has half the variance
        torch.testing.assert_close(
            estimate.extras["kl_1"], torch.full((3,), 16 * 0.5 * (0.5 - 1 - torch.tensor(0.5).log()))
        )
    assert vae.sample(2).shape == (2, 1, 8, 8)


@pytest.mark.parametrize("top", [partial(priors.VampPrior, num_components=3), partial(priors.Flow, hidden=[8])])
def test_top_layer_has_any_prior(top: Any) -> None:
    vae, x = small(top), torch.rand(3, 1, 8, 8)
    estimate = elbo(vae.p, vae.q, x)
    estimate.loss.backward()
    assert all(weight.grad is not None for weight in vae.p.prior.top.parameters())
    torch.testing.assert_close(estimate.extras["kl_1"] + estimate.extras["kl_2"], estimate.kl)


def test_encoder_must_give_the_maps() -> None:
    with pytest.raises(
        ValueError, match=r"needs an encoder that gives maps of the shapes \[\(4, 4, 4\), \(8, 2, 2\)\]"
    ):
        small(encoder=partial(MLPEncoder, hidden=[7]))

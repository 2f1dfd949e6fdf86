"""Bits-back coding with several layers of latent variables."""

import math
from functools import partial

import numpy as np
import pytest
import torch

from aevb import posteriors, priors
from aevb.likelihoods import Bernoulli, Categorical, Poisson
from aevb.networks import ConvPyramid, FirstLayer, LastMaps, LastState, MLPDecoder
from aevb.tasks import Compress
from aevb.tasks.bits_back import BitsBack
from aevb.tasks.compress import HEADER, compress, decompress
from aevb.vae import VAE

from ..small import small_model
from .known import run

pytest.importorskip("constriction")

SHAPE = (1, 4, 5)
DIMS = (3, 2)
MAPS = {"halvings": (1, 2), "width": 4}
CHANNELS = {"data_shape": (1, 8, 8), "latent_channels": (1, 1)}


def layered(posterior, prior, decoder, **parts):
    layers = {"latent_dims": DIMS, "hidden": (8,)}
    return small_model(
        SHAPE,
        latent_dim=sum(DIMS),
        posterior=partial(posterior, **layers),
        prior=partial(prior, **layers),
        decoder=decoder,
        **parts,
    )


def conv(likelihood=Bernoulli):
    return VAE(
        latent_dim=16 + 4,
        data_shape=(1, 8, 8),
        encoder=partial(ConvPyramid, **MAPS),
        posterior=partial(posteriors.ConvTopDown, **MAPS, **CHANNELS),
        prior=partial(priors.ConvTopDown, **MAPS, **CHANNELS),
        decoder=partial(LastMaps, **MAPS),
        likelihood=likelihood,
        initialization="xavier",
    )


mlp = partial(MLPDecoder, hidden=[10])
of_first = partial(FirstLayer, latent_dims=DIMS, decoder=mlp)
MODELS = {
    "hierarchical": partial(layered, posteriors.BottomUp, priors.Hierarchical, of_first),
    "upwards, all decoded": partial(layered, posteriors.BottomUp, priors.Hierarchical, mlp),
    "ladder": partial(layered, posteriors.Ladder, priors.Hierarchical, of_first),
    "top_down": partial(
        layered,
        partial(posteriors.TopDown, width=6),
        partial(priors.TopDown, width=6),
        partial(LastState, width=6, decoder=mlp),
    ),
    "top_down_conv": conv,
}


def make(name, likelihood=Bernoulli, scale=2.0):
    """A model whose z matter to x, and x to z."""
    torch.manual_seed(0)
    vae = MODELS[name](likelihood=likelihood)
    with torch.no_grad():
        for weight in vae.parameters():
            weight.mul_(scale if name != "top_down_conv" else 1.0)
    return vae


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("likelihood", [Bernoulli, Poisson, partial(Categorical, levels=5)])
@pytest.mark.parametrize("latent_bits", [5, 16])
def test_what_is_decoded_is_what_was_encoded(name, likelihood, latent_bits):
    vae = make(name, likelihood)
    x = vae.sample(5, mean=False)
    assert torch.equal(decompress(vae, compress(vae, x, latent_bits)), x)


@pytest.mark.parametrize("name", ["hierarchical", "ladder", "top_down"])
def test_the_file_is_as_long_as_the_elbo_says(name):
    vae = make(name)
    x = vae.sample(800, mean=False)
    found = run(Compress(), vae, x)
    bits = -float(vae.elbo(x, num_samples=100).double().sum()) / math.log(2)
    overhead = 8 * HEADER.size + found.results["initial_bits"] + 32
    assert abs(8 * found.results["bytes"] - overhead - bits) < 0.03 * bits
    assert found.results["elbo_bits_per_dim"] == pytest.approx(bits / x.numel(), rel=0.01)
    assert list(found.pictures) == ["bits"]


def test_bit_swap_alternates_and_needs_bits_for_one_layer():
    coder = BitsBack(make("hierarchical"), 2, 12)
    steps = [f"{step.kind}{step.layer + 1}" for step in coder.steps]
    assert steps == ["q1", "x1", "q2", "p1", "p2"]
    assert coder.from_prior == [False, True]
    downwards = BitsBack(make("ladder"), 2, 12)
    assert [f"{step.kind}{step.layer + 1}" for step in downwards.steps] == ["q2", "q1", "x1", "p1", "p2"]
    assert downwards.from_prior == [True, True]
    assert coder.words == 3 < downwards.words == 4
    plain = BitsBack(make("upwards, all decoded"), 2, 12)
    assert [f"{step.kind}{step.layer + 1}" for step in plain.steps] == ["q1", "q2", "x1", "p1", "p2"]


@pytest.mark.parametrize("name", ["hierarchical", "top_down"])
def test_damaged_files_are_refused(name):
    vae = make(name)
    x = vae.sample(6, mean=False)
    content = compress(vae, x)
    flipped = bytearray(content)
    flipped[-5] ^= 4
    for bad in (content[:-1], content[:-4], content[: HEADER.size], content + b"0", bytes(flipped)):
        with pytest.raises(ValueError, match="truncated or damaged"):
            decompress(vae, bad)
    with pytest.raises(ValueError, match="other weights"):
        decompress(make(name, scale=1.5), content)
    assert torch.equal(decompress(vae, content), x)


@pytest.mark.parametrize("name", ["flat", "hierarchical"])
def test_counts_whose_frequencies_are_the_models_take_their_entropy(name):
    """z says nothing of x, q(z|x) = p(z), p(x) = (1/2, 1/4, 1/8, 1/8): the ELBO is the entropy, 1.75 bits a value."""
    p = torch.tensor([1 / 2, 1 / 4, 1 / 8, 1 / 8])
    likelihood = partial(Categorical, levels=4)
    vae = small_model(SHAPE, likelihood=likelihood) if name == "flat" else make(name, likelihood)
    with torch.no_grad():
        for weight in vae.parameters():
            weight.zero_()
        vae.p.head.layer.bias.copy_(p.log().repeat_interleave(20))
    symbols = np.random.default_rng(0).permutation(np.repeat(np.arange(4), [1600, 800, 400, 400]))
    x = torch.from_numpy(symbols).float().reshape(160, *SHAPE) / 3
    content = compress(vae, x)
    initial = BitsBack(vae, 4, 12).initial_bits()
    bits = 8 * (len(content) - HEADER.size) - 32 * len(initial)
    assert abs(bits - 1.75 * x.numel()) <= 64
    assert run(Compress(), vae, x).results["elbo_bits_per_dim"] == pytest.approx(1.75)
    assert torch.equal(decompress(vae, content), vae.batch(x))


def test_layers_that_it_cannot_code_are_refused():
    torch.manual_seed(0)
    vae = small_model(
        SHAPE,
        latent_dim=5,
        posterior=partial(posteriors.Ladder, latent_dims=DIMS),
        prior=partial(priors.Hierarchical, latent_dims=DIMS, top=priors.Laplace),
    )
    with pytest.raises(ValueError, match=r"needs a standard normal p.*got Laplace"):
        compress(vae, torch.ones(3, *SHAPE))

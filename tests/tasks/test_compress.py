"""Lossless compression by bits-back coding."""

import gzip
import io
import math
import sys
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from aevb.data.module import Split
from aevb.errors import ConfigError
from aevb.likelihoods import Bernoulli, Categorical, DiscretizedLogistic, Gaussian, NegativeBinomial, Poisson
from aevb.networks import MLPDecoder, MLPEncoder
from aevb.posteriors import FullGaussian
from aevb.priors import ConditionalGaussian, Laplace, StandardNormal
from aevb.tasks import Compress
from aevb.tasks.compress import HEADER, compress, decompress, digest, other_sizes

from ..small import small_model
from .known import run

pytest.importorskip("constriction")

SHAPE = (1, 4, 5)


def black_and_white(count, share=0.5, shape=SHAPE):
    generator = torch.Generator().manual_seed(1)
    return (torch.rand(count, *shape, generator=generator) < share).float()


@pytest.mark.parametrize(
    ("likelihood", "x"),
    [
        (Bernoulli, black_and_white(6)),
        (partial(Categorical, levels=256), torch.randint(256, (6, *SHAPE), dtype=torch.uint8)),
        (partial(Categorical, levels=5), torch.randint(5, (6, *SHAPE)).float() / 4),
        (DiscretizedLogistic, torch.randint(256, (6, *SHAPE), dtype=torch.uint8)),
        (Poisson, torch.randint(9, (6, *SHAPE)).float()),
        (NegativeBinomial, torch.randint(9, (6, *SHAPE)).float()),
    ],
)
@pytest.mark.parametrize("latent_bits", [4, 16])
def test_what_is_decoded_is_what_was_encoded(likelihood, x, latent_bits):
    torch.manual_seed(0)
    vae = small_model(SHAPE, likelihood=likelihood, latent_dim=3)
    decoded = decompress(vae, compress(vae, x, latent_bits))
    assert torch.equal(decoded, vae.batch(x))


@pytest.mark.parametrize("likelihood", [Bernoulli, Poisson])
def test_the_file_is_as_long_as_the_elbo_says(likelihood):
    torch.manual_seed(0)
    vae = small_model(SHAPE, likelihood=likelihood, latent_dim=2)
    with torch.no_grad():  # z matters to x, and x to z
        for part in (vae.p, vae.q):
            for weight in part.parameters():
                weight.mul_(2)
    x = vae.sample(1500, mean=False)
    found = run(Compress(), vae, x)
    bits = -float(vae.elbo(x, num_samples=100).double().sum()) / math.log(2)
    overhead = 8 * HEADER.size + found.results["initial_bits"] + 32
    assert found.results["bytes"] == len(found.archives[""])
    assert abs(8 * found.results["bytes"] - overhead - bits) < 0.02 * bits
    assert found.results["elbo_bits_per_dim"] == pytest.approx(bits / x.numel(), rel=0.005)
    assert torch.equal(decompress(vae, found.archives[""]), x)


def test_the_sizes_beside_it_are_those_of_files():
    x = black_and_white(7, 0.1, (1, 30, 20)).int().flatten(1).numpy()
    sizes = other_sizes(x, (1, 30, 20), 2)
    assert sizes["raw"] == x.size / 8
    assert sizes["gzip"] == min(len(gzip.compress(each, 9)) for each in (np.packbits(x), x.astype("u1").tobytes()))
    tiles = np.zeros((90, 60), bool)
    for index, image in enumerate(x.reshape(-1, 30, 20)):
        row, column = divmod(index, 3)
        tiles[30 * row : 30 * row + 30, 20 * column : 20 * column + 20] = image
    buffer = io.BytesIO()
    Image.fromarray(tiles).save(buffer, format="png", optimize=True)
    assert sizes["png"] == buffer.tell()
    assert other_sizes(np.full((4, 6), 5, np.int32), (1, 1, 6), 6).keys() == {"raw", "gzip"}  # vectors are no image
    assert other_sizes(np.full((4, 6), 5, np.int32), (1, 1, 6), 6)["raw"] == 4 * 6 * 3 / 8
    assert "png" in other_sizes(np.zeros((4, 27), np.int32), (3, 3, 3), 256)


def changed(content, **fields):
    """A file with another header and the right digest."""
    names = ("magic", "digest", "weights", "count", "levels", "latent_bits")
    header = dict(zip(names, HEADER.unpack_from(content), strict=True)) | fields
    rest = HEADER.pack(*header.values())[24:] + content[HEADER.size :]
    return content[:8] + digest(rest) + rest


def test_foreign_and_damaged_files_are_refused_in_one_line():
    torch.manual_seed(0)
    vae, other = small_model(SHAPE), small_model(SHAPE)
    content = compress(vae, black_and_white(9))
    flipped = bytearray(content)
    flipped[-3] ^= 1
    for bad, message in (
        (b"", "this is no file of task=compress"),
        (b"\x89PNG" + content, "this is no file of task=compress"),
        (content[:8], "truncated or damaged"),
        (content[:-4], "truncated or damaged"),
        (content + b"0", "truncated or damaged"),
        (bytes(flipped), "truncated or damaged"),
        (changed(content, levels=2**32 - 1), "2 to 65,536 levels"),
        (changed(content, count=8), "cannot be decoded here"),
        (changed(content, count=10), "cannot be decoded here"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            decompress(vae, bad)
        assert "\n" not in str(error.value)
    assert torch.equal(decompress(vae, changed(content)), black_and_white(9))
    with pytest.raises(ValueError, match="compressed by a model with other weights"):
        decompress(other, content)


@pytest.mark.parametrize(
    ("parts", "x", "message"),
    [
        ({"likelihood": Gaussian}, black_and_white(3), "needs a discrete p.*got Gaussian"),
        ({"posterior": FullGaussian}, black_and_white(3), "model/posterior=diagonal_gaussian, got"),
        ({"prior": Laplace}, black_and_white(3), "model/prior=standard_normal, got Laplace"),
        ({}, torch.full((3, *SHAPE), 0.5), "black-and-white data.*data.binarization=static"),
        ({"likelihood": Poisson}, torch.full((3, *SHAPE), 1e5), "2 to 65,536 levels, got 100,001"),
    ],
)
def test_models_and_data_that_it_cannot_code_are_refused(parts, x, message):
    vae = small_model(SHAPE, **parts)
    with pytest.raises(ValueError, match=message):
        run(Compress(), vae, x)


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "constriction", None)
    with pytest.raises(
        ConfigError, match=r"^task=compress is an extra; install it with: pip install 'aevb\[compress\]'$"
    ):
        run(Compress(), small_model(SHAPE), black_and_white(3))


def conditional_model(likelihood=Bernoulli, prior=StandardNormal):
    """Given c (B, 3); z and c matter to x, and x and c to z."""
    torch.manual_seed(0)
    shape = {"condition_shape": (3,)}
    vae = small_model(
        SHAPE,
        likelihood=likelihood,
        prior=prior if prior is StandardNormal else partial(prior, **shape),
        encoder=partial(MLPEncoder, hidden=[10], **shape),
        decoder=partial(MLPDecoder, hidden=[10], **shape),
    )
    with torch.no_grad():
        for weight in [*vae.q.parameters(), *vae.p.decoder.parameters(), *vae.p.head.parameters()]:
            weight.mul_(3)
    return vae


@pytest.mark.parametrize("likelihood", [Bernoulli, partial(Categorical, levels=5)])
@pytest.mark.parametrize("prior", [StandardNormal, ConditionalGaussian])
def test_conditions_are_known_to_both_sides_and_take_no_bits(likelihood, prior):
    vae = conditional_model(likelihood, prior)
    c = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    x = vae.sample(400, mean=False, c=c)
    found = Compress().run(vae, Split(x, c=c), Split(x, c=c), 1000)
    bits = -float(vae.elbo(x, num_samples=100, c=c).double().sum()) / math.log(2)
    overhead = 8 * HEADER.size + found.results["initial_bits"] + 32
    assert abs(8 * found.results["bytes"] - overhead - bits) < 0.02 * bits
    assert found.results["elbo_bits_per_dim"] == pytest.approx(bits / x.numel(), rel=0.01)
    content = found.archives[""]
    assert torch.equal(decompress(vae, content, c), x)
    assert torch.equal(decompress(vae.given(c, 400), content), x)
    with pytest.raises(ValueError, match=r"other weights, or given other conditions$"):
        decompress(vae, content, c.flip(0))
    for bad, message in ((c[:9], r"needs a condition.*got c of shape"), (None, "needs a condition")):
        with pytest.raises(ValueError, match=message) as error:
            decompress(vae, content, bad)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="needs a condition"):
        compress(vae, x)

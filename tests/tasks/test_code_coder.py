"""Lossless compression by models with discrete codes."""

import math
from functools import partial

import pytest
import torch

from aevb.likelihoods import Bernoulli, Categorical
from aevb.tasks import Compress
from aevb.tasks.compress import HEADER, compress, decompress

from ..codes import QUANTIZERS, SMALL, code_model
from .known import run
from .test_compress import changed

pytest.importorskip("constriction")


def make(quantizer="codebook", network=SMALL, likelihood=Bernoulli):
    """A model whose codes matter to x, and that does not expect all of them alike."""
    torch.manual_seed(0)
    vae = code_model(quantizer, network, likelihood=likelihood)
    with torch.no_grad():
        for weight in vae.parameters():
            weight.mul_(2)
    return vae


@pytest.mark.parametrize("likelihood", [Bernoulli, partial(Categorical, levels=5)])
@pytest.mark.parametrize("network", [None, SMALL])
@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_what_is_decoded_is_what_was_encoded_and_as_long_as_the_elbo_says(quantizer, network, likelihood):
    vae = make(quantizer, network, likelihood)
    x = vae.sample(150, mean=False)
    found = run(Compress(), vae, x)
    bits = -float(vae.elbo(x).double().sum()) / math.log(2)
    overhead = 8 * HEADER.size + found.results["initial_bits"]
    assert abs(8 * found.results["bytes"] - overhead - bits) <= 64 + 1e-4 * bits
    assert found.results["elbo_bits_per_dim"] == pytest.approx(bits / x.numel())
    assert torch.equal(decompress(vae, found.archives[""]), x)


def test_damaged_and_foreign_files_are_refused():
    vae = make()
    x = vae.sample(6, mean=False)
    content = compress(vae, x)
    flipped = bytearray(content)
    flipped[-1] ^= 1
    for bad in (content[:-1], content[:-4], content[: HEADER.size], content + b"0", bytes(flipped)):
        with pytest.raises(ValueError, match="truncated or damaged"):
            decompress(vae, bad)
    for count in (5, 7):
        with pytest.raises(ValueError, match="cannot be decoded here"):
            decompress(vae, changed(content, count=count))
    with pytest.raises(ValueError, match=r"other weights$"):
        decompress(make("codebook", partial(SMALL, depth=2)), content)
    assert torch.equal(decompress(vae, content), x)

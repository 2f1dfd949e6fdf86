"""Pictures along paths through the latent space."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from PIL.Image import Image
from torch import Tensor

from aevb import plots, posteriors, priors
from aevb.data import Split
from aevb.likelihoods import Bernoulli
from aevb.networks import MLPDecoder, MLPEncoder
from aevb.tasks import Interpolation, Traversal
from aevb.vae import VAE

from ..small import small_model
from .known import run


@pytest.fixture(autouse=True)
def _pixels(monkeypatch):
    """Pictures with the pixels of their small images."""
    monkeypatch.setattr(plots, "SMALL", 0)


def image_in(picture: Image, row: int, column: int, rows: int, columns: int, side: int = 4) -> Tensor:
    """One of the images (side, side) of a picture, whose grid is at the bottom right of titles and caption."""
    factor = math.ceil(plots.MIN_WIDTH / (columns * side))
    step = side * factor + plots.GAP
    left, top = picture.width - columns * step - plots.GAP, picture.height - rows * step - plots.GAP
    assert top > 0  # the caption
    assert left > 0  # the titles
    left, top = left + column * step + plots.GAP, top + row * step + plots.GAP
    pixels = torch.from_numpy(np.asarray(picture)[top:, left:, 0] / 255).float()
    return pixels[: side * factor : factor, : side * factor : factor]


def test_traversal_changes_one_dimension_in_a_row():
    vae = small_model((1, 4, 4), latent_dim=3)
    x = torch.rand(30, 1, 4, 4)
    found = run(Traversal(steps=5), vae, x)
    assert sorted(found.results["dimensions"]) == [0, 1, 2]
    with torch.no_grad():
        z = vae.q(x[:1]).mean
        z[0, found.results["dimensions"][1]] = 3.0
        expected = vae.p.likelihood(z.unsqueeze(0)).mean[0, 0]
    assert torch.allclose(image_in(found.pictures[""], 1, 4, 3, 5), expected[0], atol=0.003)


def test_interpolation_goes_from_one_datapoint_to_another():
    vae = small_model((1, 4, 4))
    x = torch.rand(6, 1, 4, 4)
    found = run(Interpolation(pairs=2, steps=3), vae, x)
    picture = found.pictures[""]
    assert torch.allclose(image_in(picture, 0, 0, 2, 5), x[0, 0], atol=0.003)
    assert torch.allclose(image_in(picture, 0, 4, 2, 5), x[2, 0], atol=0.003)
    with torch.no_grad():
        middle = vae.p.likelihood(0.5 * (vae.q(x[:1]).mean + vae.q(x[2:3]).mean).unsqueeze(0)).mean[0, 0, 0]
    assert torch.allclose(image_in(picture, 0, 2, 2, 5), middle, atol=0.003)


def test_traversal_of_positive_values_is_between_quantiles_of_the_prior():
    torch.manual_seed(0)
    vae = small_model((1, 4, 4), posterior=posteriors.Gamma, prior=priors.Gamma)
    low, high = Traversal().limits(vae)
    assert low == pytest.approx(-math.log(0.99), rel=0.2)
    assert high == pytest.approx(-math.log(0.01), rel=0.05)
    assert run(Traversal(), vae, torch.rand(5, 1, 4, 4)).results["dimensions"]


def test_no_dimension_of_a_simplex_moves_by_itself():
    vae = small_model((1, 4, 4), posterior=posteriors.Dirichlet, prior=priors.Dirichlet)
    with pytest.raises(ValueError, match="but z is on the simplex"):
        run(Traversal(), vae, torch.rand(5, 1, 4, 4))


def model_of_classes() -> VAE:
    """Given one of three labels."""
    torch.manual_seed(0)
    encoder, decoder = (partial(kind, hidden=[5], condition_shape=(3,)) for kind in (MLPEncoder, MLPDecoder))
    heads = (posteriors.DiagonalGaussian, priors.StandardNormal)
    return VAE(2, (1, 4, 4), encoder, *heads, decoder, Bernoulli, initialization_std=1.0, condition_shape=(3,))


@pytest.mark.parametrize("label", [None, 2])
def test_traversal_is_of_one_class(label):
    vae, x, c = model_of_classes(), torch.rand(6, 1, 4, 4), torch.eye(3).repeat(2, 1)
    found = Traversal(steps=5, label=label).run(vae, Split(x, None, c), Split(x), 3)
    z = vae.encode(x[:1], c[:1]).mean
    z[0, found.results["dimensions"][1]] = -3.0
    expected = vae.decode(z, c[:1] if label is None else c[2:3]).mean[0, 0]
    assert torch.allclose(image_in(found.pictures[""], 1, 0, 2, 5), expected, atol=0.003)


def test_interpolation_changes_the_condition_with_z():
    vae, x, c = model_of_classes(), torch.rand(2, 1, 4, 4), torch.eye(3)[:2]
    found = Interpolation(steps=3).run(vae, Split(x, None, c), Split(x), 2)
    z = vae.encode(x, c).mean
    expected = vae.decode(z.mean(0, keepdim=True), torch.tensor([[0.5, 0.5, 0.0]])).mean[0, 0]
    assert torch.allclose(image_in(found.pictures[""], 0, 2, 1, 5), expected, atol=0.003)


@pytest.mark.parametrize(("model", "message"), [
    (lambda: small_model((1, 4, 4)), "task=traversal needs a model given labels"),
    (model_of_classes, r"^task.label must be a class from 0 to 2, got 3$"),
])  # fmt: skip
def test_a_label_that_is_no_class_is_refused(model, message):
    with pytest.raises(ValueError, match=message):
        Traversal(label=3).condition(model(), Split(torch.rand(2, 1, 4, 4)))

"""Pictures show what they say."""

import numpy as np
import torch
from PIL import Image
from scipy.stats import norm

from aevb import plots


def test_manifold_points_are_the_inverse_cdf_of_the_unit_square():
    z = plots.manifold_points(5).reshape(5, 5, 2)
    expected = norm.ppf((np.arange(5) + 0.5) / 5)
    np.testing.assert_allclose(z[0, :, 0], expected, atol=1e-6)
    np.testing.assert_allclose(z[:, 0, 1], expected[::-1], atol=1e-6)


def test_saved_picture_is_the_grid_enlarged(tmp_path):
    x = torch.tensor([0.0, 1.0, 0.5, 0.2]).view(4, 1, 1, 1)
    picture = plots.grid(plots.as_pictures(x), columns=2, padding=0)
    plots.save_picture(picture, tmp_path / "p.png", min_width=10)
    pixels = np.asarray(Image.open(tmp_path / "p.png"))
    assert pixels.shape == (10, 10, 3)
    assert [pixels[0, 0, 0], pixels[0, 9, 0], pixels[9, 0, 0], pixels[9, 9, 0]] == [0, 255, 128, 51]
    assert len(np.unique(pixels[:5, :5])) == 1


def test_reconstructions_stand_below_their_originals():
    originals, reconstructions = torch.zeros(4, 1, 1, 1), torch.ones(4, 1, 1, 1)
    picture = plots.reconstruction_grid(originals, reconstructions, columns=2)
    middle = picture[0, 1::2, 1]
    assert middle.tolist() == [0, 1, 0, 1]


def test_any_number_of_channels_and_range_becomes_a_picture():
    x = torch.linspace(-2, 2, 2 * 4 * 3 * 3).view(2, 4, 3, 3)
    pictures = plots.as_pictures(x, low=-2, high=2)
    assert pictures.shape == (2, 1, 3, 3)
    assert pictures.min() >= 0
    assert pictures.max() <= 1


def test_latents_are_coloured_by_label(tmp_path):
    means, labels = torch.tensor([[0.0, 1.0], [2.0, 3.0]]), torch.tensor([0, 9])
    figure = plots.latent_scatter(means, labels)
    points = figure.axes[0].collections[0]
    np.testing.assert_allclose(points.get_offsets(), means)
    assert points.get_array().tolist() == [0, 9]
    plots.save_figure(figure, tmp_path / "latents.png")
    assert Image.open(tmp_path / "latents.png").format == "PNG"

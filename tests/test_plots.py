"""Pictures show what they say."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from scipy.stats import norm

from aevb import plots


def test_manifold_points_are_the_inverse_cdf_of_the_unit_square():
    z = plots.manifold_points(5).reshape(5, 5, 2)
    expected = norm.ppf((np.arange(5) + 0.5) / 5)
    np.testing.assert_allclose(z[0, :, 0], expected, atol=1e-6)
    np.testing.assert_allclose(z[:, 0, 1], expected[::-1], atol=1e-6)


def test_large_images_are_enlarged_pixel_by_pixel(tmp_path):
    x = torch.rand(2, 1, 28, 28)
    picture = plots.grid(plots.as_pictures(x), columns=2)
    plots.save(plots.image_of(picture), tmp_path / "p.png")
    pixels = np.asarray(Image.open(tmp_path / "p.png"))
    factor, gap = 12, plots.GAP
    side = 28 * factor
    assert pixels.shape == (side + 2 * gap, 2 * side + 3 * gap, 3)
    first, second = (pixels[gap:-gap, start : start + side] for start in (gap, side + 2 * gap))
    for number, image in enumerate((first, second)):
        expected = (x[number, 0] * 255).round().repeat_interleave(factor, 0).repeat_interleave(factor, 1)
        np.testing.assert_array_equal(image, np.repeat(expected.numpy()[..., None], 3, -1))


def test_small_images_are_enlarged_by_cubic_interpolation():
    """Which follows a plane exactly, away from the edges; torch's pixels have their values at their centres."""
    factor, side = 8, 8
    y, x = torch.meshgrid(torch.arange(side) / 16, torch.arange(side) / 16, indexing="ij")
    picture = plots.enlarged((x + y)[None, None], factor)[0, 0]
    at = ((torch.arange(side * factor) + 0.5) / factor - 0.5) / 16
    inner = slice(2 * factor, -2 * factor)
    torch.testing.assert_close(picture[inner, inner], (at[:, None] + at)[inner, inner])
    assert plots.enlarged(torch.randint(2, (1, 1, 8, 8)).float(), 4).min() >= 0


def test_grid_pads_with_white_and_fills_its_last_row(monkeypatch):
    monkeypatch.setattr(plots, "MIN_WIDTH", 1)
    monkeypatch.setattr(plots, "GAP", 1)
    picture = plots.grid(torch.zeros(3, 1, 2, 2), columns=2)
    assert picture.shape == (3, 7, 7)
    expected = torch.ones(7, 7)
    expected[1:3, 1:3] = expected[1:3, 4:6] = expected[4:6, 1:3] = 0
    assert torch.equal(picture[0], expected)


def test_tiles_of_a_manifold_are_apart():
    pixels = np.asarray(plots.manifold(torch.zeros(4, 1, 8, 8), (1, 8, 8), ""))[..., 0]
    lines = (pixels == 255).all(0)
    starts = [0, 322, 644]  # 2 images of 8 · 40 pixels, and lines of 2
    assert lines.nonzero()[0].tolist() == [at + i for at in starts for i in range(2)]
    assert (pixels[:, ~lines][(pixels != 255).any(1)] == 0).all()


def test_reconstructions_stand_below_their_originals():
    originals, reconstructions = torch.arange(4.0).view(4, 1, 1, 1), -torch.arange(4.0).view(4, 1, 1, 1)
    rows = plots.paired(("data", "reconstruction"), originals, reconstructions, columns=2)
    assert [(title, row.flatten().tolist()) for title, row in rows] == [
        ("data", [0, 1]),
        ("reconstruction", [0, -1]),
        ("data", [2, 3]),
        ("reconstruction", [-2, -3]),
    ]


def test_any_number_of_channels_and_range_becomes_a_picture():
    x = torch.linspace(-2, 2, 2 * 4 * 3 * 3).view(2, 4, 3, 3)
    pictures = plots.as_pictures(x, low=-2, high=2)
    assert pictures.shape == (2, 1, 3, 3)
    assert pictures.min() >= 0
    assert pictures.max() <= 1


def size_of(picture: Image.Image | Figure) -> tuple[int, int]:
    """Width and height in pixels."""
    if isinstance(picture, Figure):
        width, height = (round(length * picture.dpi) for length in picture.get_size_inches())
        return width, height
    return picture.size


@pytest.mark.parametrize(
    "shape",
    [
        (1, 1, 1),
        (1, 1, 12),
        (12, 1, 1),
        (1, 1, 400_000),
        (1, 400_000, 1),
        (1, 3, 5000),
        (1, 2, 2),
        (3, 32, 32),
        (1, 900, 700),
    ],
    ids=str,
)
@pytest.mark.parametrize("count", [1, 20])
def test_picture_of_any_shape_has_a_sensible_size(shape, count):
    x = torch.rand(count, *shape)
    rows = plots.paired(("data", "reconstruction"), x, x)
    for picture in (plots.show(rows, shape, "a caption"), plots.manifold(x[:1].expand(4, *shape), shape, "a caption")):
        width, height = size_of(picture)
        assert 300 <= width <= 4000
        assert 150 <= height <= 6000


def test_vectors_become_heat_maps_with_the_scale_of_the_data():
    x = torch.arange(24.0).view(2, 1, 1, 12)
    figure = plots.show([("data", x), ("reconstruction", 100 * x)], (1, 1, 12), "a caption")
    data, reconstruction = figure.axes[:2]
    assert [data.get_title(), reconstruction.get_title()] == ["data", "reconstruction"]
    np.testing.assert_array_equal(data.images[0].get_array(), x.view(2, 12))
    np.testing.assert_array_equal(reconstruction.images[0].get_array(), 100 * x.view(2, 12))
    for axes in (data, reconstruction):
        low, high = axes.images[0].get_clim()
        assert 0 <= low < high <= 23
    assert figure.get_suptitle() == "a caption"


LONG = "means of p(x|z) over the plane of z, after 2,000,000 training samples"


@pytest.mark.parametrize(
    "figure",
    [
        plots.manifold(torch.rand(400, 1, 1, 1), (1, 1, 1), LONG),
        plots.confusion(torch.eye(2), LONG),
        plots.matrix(torch.rand(2, 2), "factor", "dimension of z", LONG),
    ],
    ids=["manifold", "confusion", "matrix"],
)
def test_a_caption_is_wrapped_into_a_small_picture(figure, tmp_path):
    plots.save(figure, tmp_path / "x.png")
    pixels = np.asarray(Image.open(tmp_path / "x.png").convert("L"))
    assert (pixels[:60, [0, -1]] > 250).all()  # no letter is cut off at an edge


def test_caption_and_titles_are_outside_of_the_images():
    x = torch.zeros(2, 1, 4, 4)
    plain = plots.show([("", x), ("", x)], (1, 4, 4))
    titled = plots.show([("data", x), ("reconstruction", x)], (1, 4, 4), "what is shown " * 20)
    left, top = titled.width - plain.width, titled.height - plain.height
    assert titled.crop((left, top, *titled.size)).tobytes() == plain.tobytes()
    margins = np.asarray(titled)
    assert margins[:top].min() < 100  # the caption
    halves = margins[top:, :left].reshape(2, plain.height // 2, left, 3) if plain.height % 2 == 0 else None
    assert halves is None or (halves.min((1, 2, 3)) < 100).all()  # a title beside each row


MEANS = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("labels", "colour_bar"),
    [
        (torch.arange(300) % 10, [str(label) for label in range(10)]),
        (torch.arange(300) % 3 * 10**7 - 1, ["-1", "9999999", "19999999"]),
        (torch.arange(300) % 2 / 4, ["0", "0.25"]),
        (torch.zeros(300), ["0"]),
        (torch.arange(300) * 33_333, "label (300 different)"),
        (-torch.arange(300) * 10**12, "label (300 different)"),
        (torch.rand(300), "label (300 different)"),
        (torch.where(torch.arange(300) < 5, torch.nan, torch.arange(300) % 2), ["0", "1"]),
        (torch.full((300,), torch.nan), None),
        (None, None),
    ],
)
def test_labels_of_any_kind_have_a_readable_colour_bar(tmp_path, labels, colour_bar):
    figure = plots.latent_scatter(MEANS, labels, "a caption")
    plots.save(figure, tmp_path / "latents.png")
    drawn = np.concatenate([points.get_offsets() for points in figure.axes[0].collections])
    assert sorted(map(tuple, drawn.tolist())) == sorted(map(tuple, MEANS.tolist()))
    bars = figure.axes[1:]
    if colour_bar is None:
        assert not bars
    elif isinstance(colour_bar, str):
        assert bars[0].get_ylabel() == colour_bar
        assert len(bars[0].get_yticks()) < 20
    else:
        assert [tick.get_text() for tick in bars[0].get_yticklabels()] == colour_bar


def test_latents_are_coloured_by_label():
    labels = torch.tensor([7, 7, -3])
    (_, points) = plots.latent_scatter(torch.zeros(3, 2), labels).axes[0].collections
    assert points.get_array().tolist() == [1, 1, 0]


def test_a_thousand_latent_dimensions_have_readable_bars(tmp_path):
    figure = plots.latent_bars(torch.rand(1000), torch.rand(1000), 0.5)
    assert all(len(axes.get_xticks()) <= 51 for axes in figure.axes)


def test_sequences_are_laid_out_as_images():
    vectors = torch.rand(3, 5, 4)
    assert torch.equal(plots.laid_out(vectors)[:, 0], vectors)  # a row for each step
    frames = torch.rand(2, 30, 1, 4, 3)
    strip = plots.laid_out(frames)
    assert strip.shape == (2, 1, 4, 3 * plots.MAX_FRAMES)
    assert torch.equal(strip[..., :3], frames[:, 0])
    assert torch.equal(strip[..., -3:], frames[:, 29])
    assert isinstance(plots.show([("", vectors), ("", vectors)], (5, 4)), Image.Image)
    assert isinstance(plots.show([("", frames)], (30, 1, 4, 3)), Image.Image)


def test_animation_is_saved_with_all_its_frames(tmp_path):
    frames = [plots.image_of(torch.full((3, 4, 4), level)) for level in (0.0, 0.5, 1.0)]
    plots.save(frames, tmp_path / "film.gif")
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 3
        assert film.info["duration"] == plots.FRAME_DURATION


def test_a_matrix_is_drawn_with_its_values():
    values = torch.tensor([[0.0, 1.0, 2.0], [3.0, 0.5, 0.0]])
    figure = plots.matrix(values, "factor", "dimension of z", "information")
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), values)
    assert (axes.get_xlabel(), axes.get_ylabel(), figure.get_suptitle()) == ("dimension of z", "factor", "information")

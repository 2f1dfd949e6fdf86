"""What tasks find in models whose answer is known."""

import math

import numpy as np
import pytest
import torch
from PIL.Image import Image
from torch import Tensor
from torch.distributions import Distribution, Normal

from aevb.data.module import Split
from aevb.posteriors import FullGaussian, InverseAutoregressiveFlow
from aevb.tasks import Interpolation, Latents, Probe, Task, TaskResult, Traversal
from aevb.tasks.latents import variance_of_means
from aevb.vae import VAE

from ..ppca import make_ppca
from ..small import small_model

ROWS = 1000


def collapsed_model(active: int, latent_dim: int = 4, spread: float = 1.0, std: float = 0.2) -> VAE:
    """q(z|x) = N(spread x_u, std²) for the first `active` dimensions u, and N(0, 1) for the others."""
    ppca = make_ppca(latent_dim=latent_dim, data_dim=5)
    head = ppca.q.head.layer
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
        head.weight[:active, :active] = spread * torch.eye(active)
        head.bias[latent_dim : latent_dim + active] = 2 * math.log(std)
    return VAE.join(ppca.p, ppca.q)


def normal_data(count: int) -> Tensor:
    return torch.randn(count, 1, 1, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def run(task: Task, model: VAE, x: Tensor, y: Tensor | None = None, train: Split | None = None) -> TaskResult:
    torch.manual_seed(0)
    return task.run(model, Split(x, y), train or Split(x, y), ROWS)


@pytest.mark.parametrize("active", [0, 2, 4])
def test_active_units_are_found_and_collapse_is_said(active):
    found = run(Latents(), collapsed_model(active), normal_data(500))
    assert found.results["active_units"] == active
    assert found.results["active"] == list(range(active))
    start = {
        0: "posterior collapse: none of the 4",
        2: "2 of 4 latent variables are active",
        4: "no posterior collapse",
    }
    assert found.words[0].startswith(start[active])
    assert active != 2 or found.words[0].endswith(": 2, 3")


def test_kl_is_the_closed_form_in_each_dimension():
    std, x = 0.2, normal_data(500)
    found = run(Latents(), collapsed_model(2, std=std), x)
    expected = 0.5 * (x.flatten(1)[:, :2].square().mean(0) + std**2 - 1 - 2 * math.log(std))
    assert torch.allclose(torch.tensor(found.results["kl_per_dimension"][:2], dtype=torch.float64), expected.double())
    assert found.results["kl_per_dimension"][2:] == pytest.approx([0, 0])
    assert found.results["kl"] == pytest.approx(float(expected.sum()))


def test_kl_splits_into_information_and_distance_from_the_prior():
    """With x ~ N(0, 1), q(z) = N(0, spread² + std²) in one dimension: both parts have closed forms."""
    spread, std = 0.6, 0.5
    variance = spread**2 + std**2
    found = run(Latents(), collapsed_model(1, spread=spread, std=std), normal_data(2000)).results
    assert found["mutual_information"] == pytest.approx(0.5 * math.log(variance / std**2), abs=0.06)
    assert found["kl_aggregate"] == pytest.approx(0.5 * (variance - 1 - math.log(variance)), abs=0.03)
    assert found["aggregate_std"][0] == pytest.approx(math.sqrt(variance), abs=0.05)
    assert found["mutual_information"] + found["kl_aggregate"] == pytest.approx(found["kl"])


def test_information_beyond_what_can_be_measured_is_said():
    found = run(Latents(aggregate_size=50), collapsed_model(4, spread=300, std=0.001), normal_data(60))
    assert found.results["mutual_information"] == pytest.approx(math.log(50), abs=0.001)
    assert "at least 3.91 are information about x (50 datapoints can show 3.91), and at most" in found.words[1]


@pytest.mark.parametrize("posterior", [FullGaussian, InverseAutoregressiveFlow])
def test_posteriors_that_do_not_factorize_have_no_kl_per_dimension(posterior):
    found = run(Latents(), small_model((1, 4, 4), posterior=posterior), torch.rand(20, 1, 4, 4)).results
    assert found["kl_per_dimension"] is None
    assert found["kl"] > 0
    assert len(found["variance_of_means"]) == 2


def test_probe_reads_labels_that_are_in_z_and_only_those():
    x = normal_data(1000)
    seen, unseen = (x[..., 0].flatten() > 0).long(), (x[..., 3].flatten() > 0).long()
    for labels, low, high in ((seen, 0.97, 1.0), (unseen, 0.4, 0.62)):
        train, test = Split(x[:600], labels[:600]), Split(x[600:], labels[600:])
        found = run(Probe(), collapsed_model(2), *test, train=train).results
        assert low <= found["accuracy"] <= high
        assert found["fitted_to"] == 600
        assert 0.4 < found["most_common_label"] < 0.6


def test_probe_needs_labels():
    with pytest.raises(ValueError, match="needs labels"):
        run(Probe(), collapsed_model(1), normal_data(5))


@pytest.mark.parametrize("labels", [torch.arange(100) * 10**5, torch.zeros(100, dtype=torch.long)])
def test_probe_refuses_labels_that_are_no_classes(labels):
    with pytest.raises(ValueError, match=r"task=probe needs labels that are classes, got (100|1) different"):
        run(Probe(), collapsed_model(1), normal_data(100), labels)


def image_in(picture: Image, row: int, column: int, rows: int, columns: int, side: int = 4) -> Tensor:
    """One of the images (side, side) of a picture, whose grid is at the bottom right of titles and caption."""
    factor = math.ceil(640 / (columns * (side + 1) + 1))
    left = picture.width - (columns * (side + 1) + 1) * factor
    top = picture.height - (rows * (side + 1) + 1) * factor
    assert top > 0  # the caption
    assert left > 0  # the titles
    pixels = torch.from_numpy(np.asarray(picture)[top::factor, left::factor, 0] / 255).float()
    row, column = row * (side + 1) + 1, column * (side + 1) + 1
    return pixels[row : row + side, column : column + side]


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


class WithoutMean(Distribution):
    """N(scale x, 1) of the first two values of x, which cannot say its mean, as a flow cannot."""

    def __init__(self, x: Tensor, scale: float) -> None:
        self.normal = Normal(scale * x.flatten(1)[:, :2], 1.0)
        super().__init__(event_shape=torch.Size((2,)), validate_args=False)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        return self.normal.sample(sample_shape)


@pytest.mark.parametrize("scale", [0.0, 0.5])
def test_variance_of_estimated_means_does_not_count_the_noise_of_draws(scale):
    vae = small_model((1, 1, 5))
    vae.encode = lambda x: WithoutMean(x, scale)
    torch.manual_seed(0)
    variance = variance_of_means(vae, normal_data(4000))
    assert torch.allclose(variance, torch.full((2,), scale**2, dtype=torch.float64), atol=max(0.002, 0.1 * scale**2))


BAD = {
    "threshold": (Latents, 0),
    "aggregate_size": (Latents, 1),
    "train_size": (Probe, 0),
    "inverse_penalty": (Probe, -1),
    "steps": (Traversal, 1),
    "span": (Traversal, 0),
    "pairs": (Interpolation, 0),
}


@pytest.mark.parametrize("setting", BAD)
def test_bad_settings_name_their_key(setting):
    task, value = BAD[setting]
    with pytest.raises(ValueError, match=rf"^{setting} must be .*, got {value}"):
        task(**{setting: value})

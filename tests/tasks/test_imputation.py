"""Restored images: exact on probabilistic PCA, whose conditional means are known."""

import math

import pytest
import torch

from aevb.data.module import Split
from aevb.likelihoods import DiscretizedLogisticMixture, Multinomial
from aevb.tasks import Denoise, Inpaint, SuperResolution
from aevb.tasks.chain import KnownPixels
from aevb.tasks.imputation import compared, nearest, psnr, uniform_noise
from aevb.tasks.masks import Centre, Half, Lattice, RandomPixels

from ..cvae import linear_cvae
from ..small import small_model


def test_psnr():
    x = torch.rand(2, 1, 3, 3)
    everything = torch.ones_like(x, dtype=torch.bool)
    assert psnr(x + 0.1, x, everything) == pytest.approx(20, abs=1e-3)
    assert psnr(x, x, everything) == math.inf
    half = Half("left").observed(2, (1, 3, 3)).expand_as(x)
    assert psnr(torch.where(half, x, x + 0.01), x, ~half) == pytest.approx(40, abs=1e-2)


def test_nearest_uses_only_observed_pixels():
    train = torch.tensor([[0.0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]]).view(3, 1, 2, 2)
    x = torch.tensor([[0.1, 0.2, 0, 0], [0, 1, 1, 1]]).view(2, 1, 2, 2)
    seen = torch.tensor([[True, True, False, False], [True, True, False, False]]).view(2, 1, 2, 2)
    for rows in (1, 10):
        assert torch.equal(nearest(x, train, seen, rows), train[[0, 2]])


def test_noise_is_of_the_kind_of_the_data():
    grey, black_and_white = torch.rand(5, 1, 20, 20) * 2, torch.bernoulli(torch.full((5, 1, 20, 20), 0.2))
    noise, density = uniform_noise(grey, discrete=False)
    assert density == pytest.approx(0.5, abs=0.01)
    assert float(noise.mean()) == pytest.approx(1, abs=0.1)
    noise, density = uniform_noise(black_and_white, discrete=False)
    assert density == 0.5
    assert noise.unique().tolist() == [0, 1]
    levels = (grey * 2).round() / 4
    noise, density = uniform_noise(levels, discrete=True)
    assert density == 0.2
    assert noise.unique().tolist() == levels.unique().tolist()


@pytest.mark.parametrize(
    "task", [Inpaint(mask=Half("top")), SuperResolution(), Denoise(), Inpaint(mask=RandomPixels(0.5))]
)
def test_results_of_the_task(task):
    torch.manual_seed(0)
    task = type(task)(**{**vars(task), "num_chains": 2, "burn_in": 1, "num_steps": 2})
    x, train = torch.rand(12, 1, 4, 4), torch.rand(30, 1, 4, 4)
    found = task.run(small_model((1, 4, 4)), Split(x), Split(train), rows=8)
    assert {"psnr_model", "psnr_mean_image", "psnr_nearest_neighbour", "acceptance"} <= set(found.results)
    assert all(math.isfinite(value) for value in found.results.values())
    rows = 6 if isinstance(task, Denoise) else 5
    picture = found.pictures[""]
    assert picture.height // (5 * 13) == rows  # images of 4 pixels and one of padding, enlarged 13 times to 640
    assert found.words[0].startswith("PSNR of the model")
    assert isinstance(task.settings.get("mask", ""), str)


def test_low_acceptance_gives_a_warning():
    x = torch.rand(2, 1, 4, 4)
    everything = torch.ones_like(x, dtype=torch.bool)
    for acceptance, said in ((0.001, True), (0.5, False)):
        words = compared(x, x, {"model": x, "mean_image": x + 0.1}, everything, acceptance).words
        assert any(sentence.startswith("warning: only 0.1% of the chains' proposals") for sentence in words) == said


def test_impossible_tasks_and_settings_raise():
    x = torch.rand(4, 1, 1, 1)
    with pytest.raises(ValueError, match=r"task=inpaint needs images with missing pixels, got \(1, 1, 1\)"):
        Inpaint().run(small_model((1, 1, 1)), Split(x), Split(x), rows=10)
    x = torch.rand(4, 5, 6)
    for task in (Inpaint(), SuperResolution()):
        with pytest.raises(ValueError, match=rf"task={task.name} needs images \(C, H, W\), got .* of shape \(5, 6\)"):
            task.run(small_model((5, 6)), Split(x), Split(x), rows=10)
    for make, key in (
        (lambda: Half("middle"), "side"),
        (lambda: Centre(1.0), "share"),
        (lambda: RandomPixels(0), "share"),
        (lambda: Lattice(1), "factor"),
        (lambda: Denoise(share=1), "share"),
        (lambda: SuperResolution(factor=1), "factor"),
        (lambda: Inpaint(num_chains=0), "num_chains"),
    ):
        with pytest.raises(ValueError, match=rf"^{key} must be"):
            make()


def test_denoising_works_for_the_likelihood_with_mixtures_along_an_axis():
    x = (torch.rand(4, 1, 4, 4) * 255).round() / 255
    model = small_model((1, 4, 4), likelihood=DiscretizedLogisticMixture)
    found = Denoise(num_chains=1, burn_in=0, num_steps=1).run(model, Split(x), Split(x), rows=10)
    assert math.isfinite(found.results["psnr_model"])


def test_missing_values_are_restored_given_the_condition_of_their_datapoint():
    """E[x_m | x_o, c] = μ_m + Σ_mo Σ_oo⁻¹ (x_o − μ_o), μ = B c + b, Σ = W Wᵀ + σ² I."""
    model = linear_cvae()
    layer = model.vae.p.head.layer
    w, b = layer.weight[:, :2].detach(), layer.weight[:, 2:].detach()
    mean, covariance = model.c @ b.T + layer.bias.detach(), w @ w.T + 0.6**2 * torch.eye(5, dtype=w.dtype)
    gain = covariance[3:, :3] @ torch.linalg.inv(covariance[:3, :3])
    expected = mean[:, 3:] + (model.x.flatten(1)[:, :3] - mean[:, :3]) @ gain.T
    observed = (torch.arange(5) < 3).expand_as(model.x)
    torch.manual_seed(0)
    restored, acceptance = Inpaint(num_chains=200, burn_in=10, num_steps=100).by_model(
        model.vae, Split(model.x, None, model.c), lambda index: KnownPixels(model.x[index], observed[index]), 800
    )
    torch.testing.assert_close(restored.flatten(1)[:, 3:], expected, atol=0.05, rtol=0)
    assert acceptance == pytest.approx(1)


def test_values_that_depend_on_each_other_given_z_are_not_restored_one_by_one():
    x = torch.ones(4, 1, 2, 2)
    for task in (Inpaint(num_steps=1), Denoise(num_steps=1)):
        with pytest.raises(
            ValueError, match="images are restored by a likelihood that is a product over the values of x"
        ):
            task.run(small_model((1, 2, 2), likelihood=Multinomial), Split(x), Split(x), rows=10)

"""What the task layers finds in the linear-Gaussian model of two layers, where it is known."""

import pytest
import torch
from PIL.Image import Image

from aevb.tasks import Latents, Layers

from ..posteriors.test_hierarchical import COLUMNS, SIGMA_1, A, data, ladder
from ..small import small_model
from .known import run


def test_share_of_the_variance_that_remains_is_the_closed_form() -> None:
    """f = W z_1, z_1 = A z_2 + σ₁ ε: with z_2 fixed Var f = σ₁² tr(W Wᵀ), of tr(W (A Aᵀ + σ₁² I) Wᵀ)."""
    expected = SIGMA_1**2 * COLUMNS.square().sum() / (COLUMNS.square() * (A.square() + SIGMA_1**2)).sum()
    found = run(Layers(num_samples=20_000), ladder(), data(10)[0])
    assert found.results["remaining_variance"]["z_2 fixed"] == pytest.approx(float(expected), abs=0.02)
    assert found.words == [f"with z_2 fixed, {expected:.0%} of the variance of the means of p(x|z) remain"]


def test_kl_of_layers_adds_up() -> None:
    torch.manual_seed(0)
    found = run(Latents(), ladder(), data(400)[0])
    assert sum(found.results["kl_per_layer"]) == pytest.approx(found.results["kl"], rel=0.01)
    assert sum("nats, " in line and line.startswith("layer") for line in found.words) == 2
    assert run(Latents(), small_model((1, 4, 4)), torch.rand(9, 1, 4, 4)).results["kl_per_layer"] is None


def test_models_of_one_layer_are_refused() -> None:
    with pytest.raises(ValueError, match="task=layers needs a model of several layers"):
        run(Layers(), small_model((1, 4, 4)), torch.rand(9, 1, 4, 4))


def test_picture_has_a_row_for_each_example() -> None:
    found = run(Layers(examples=2, columns=3, num_samples=5), ladder(), data(10)[0])
    assert not isinstance(found.pictures[""], Image)  # vectors are heat maps
    assert len(found.pictures[""].axes) >= 1

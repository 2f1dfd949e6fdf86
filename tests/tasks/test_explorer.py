"""A page to move through the latent space."""

import base64
import io
import json
import re

import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from PIL import Image

from aevb.tasks import Explorer
from aevb.tasks.base import principal_axes
from aevb.tasks.explorer import sheet, steps

from ..small import small_model
from .known import run


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def pixels(sheet, index):
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet["png"]))))
    row, column = divmod(index, sheet["columns"])
    height, width = sheet["height"], sheet["width"]
    return picture[row * height : (row + 1) * height, column * width : (column + 1) * width]


@pytest.mark.parametrize("latent_dim", [1, 2, 3, 6])
def test_the_table_holds_the_decoded_means_at_the_points_that_the_page_shows(latent_dim):
    vae = small_model((1, 4, 4), latent_dim=latent_dim)
    found = run(Explorer(pictures=400), vae, torch.rand(50, 1, 4, 4))
    data = data_of(found.pages[""])
    assert found.results["axes"] == min(latent_dim, 4)
    assert (
        found.results["variance_shown"] == pytest.approx(1.0)
        if latent_dim <= 4
        else 0 < found.results["variance_shown"] < 1
    )
    where = [count - 1 if axis == 0 else count // 3 for axis, count in enumerate(data["counts"])]
    ends = zip(where, data["low"], data["high"], data["counts"], strict=True)
    mark = torch.tensor([low + i * (high - low) / (count - 1) for i, low, high, count in ends])
    z = torch.tensor(data["centre"]) + mark @ torch.tensor(data["directions"])
    expected = vae.decode(z[None]).mean[0] * 255
    index = int(np.ravel_multi_index(where, data["counts"]))
    assert np.abs(pixels(data["table"], index) - expected.numpy()).max() < 1.5  # values in the page are rounded


def test_the_training_data_are_beside_their_means():
    vae, x = small_model((3, 4, 5), latent_dim=2), torch.rand(20, 3, 4, 5)
    data = data_of(run(Explorer(pictures=100), vae, x).pages[""])
    assert torch.allclose(torch.tensor(data["means"]), vae.encode(x).mean, rtol=1e-3)
    expected = (x[7].permute(1, 2, 0) * 255).round().numpy()
    assert (pixels(data["examples"], 7) == expected).all()


def test_vectors_are_strips():
    assert sheet(torch.rand(5, 1, 1, 7), (0.0, 1.0))["height"] == 1


@pytest.mark.parametrize(("axes", "counts"), [(1, [100]), (2, [10, 10]), (3, [4, 4, 5]), (4, [2, 2, 5, 5])])
def test_the_table_has_as_many_pictures_as_allowed(axes, counts):
    assert steps(axes, 100) == counts


@pytest.mark.slow
def test_the_page_follows_pointer_keys_and_sliders(browser, tmp_path):
    vae, x = small_model((1, 4, 4), latent_dim=3), torch.rand(60, 1, 4, 4)
    with torch.no_grad():
        for weight in vae.parameters():
            weight.mul_(20)  # so that the pictures differ
    file = tmp_path / "explorer.html"
    file.write_text(run(Explorer(pictures=200), vae, x).pages[""])
    page = browser.new_page(viewport={"width": 390, "height": 800})
    complaints = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(file.as_uri())
    page.wait_for_selector("body[data-ready]")

    def shown():
        return page.evaluate("document.querySelector('.picture').toDataURL()"), page.locator("output").inner_text()

    states = [shown()]
    page.locator(".map").hover(position={"x": 40, "y": 90})
    states.append(shown())
    page.locator(".map").press("ArrowRight")
    states.append(shown())
    page.locator("input[type=range]").fill("1")
    states.append(shown())
    assert len({picture for picture, _ in states}) == len({text for _, text in states}) == 4
    assert page.locator(".neighbours li").count() == 5
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    violations = Axe().run(page).response["violations"]
    assert [v["id"] for v in violations if v["impact"] in ("serious", "critical")] == []
    assert complaints == []
    page.close()


def test_principal_axes_are_those_of_largest_variance():
    means = torch.randn(500, 3, dtype=torch.float64) @ torch.diag(torch.tensor([0.1, 3.0, 1.0], dtype=torch.float64))
    centre, directions, share = principal_axes(means, 2)
    values, vectors = torch.linalg.eigh(torch.cov(means.T))
    assert torch.allclose((directions @ vectors.flip(1)[:, :2]).abs(), torch.eye(2, dtype=torch.float64), atol=1e-6)
    assert torch.allclose(centre, means.mean(0))
    assert share.item() == pytest.approx((values[1:].sum() / values.sum()).item())

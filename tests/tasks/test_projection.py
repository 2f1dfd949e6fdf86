"""Latent means in a plane."""

import sys

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score

from aevb import plots
from aevb.errors import ConfigError
from aevb.tasks import Latents
from aevb.tasks.projection import by_umap, plane_of_means, scatter_of_means

from .known import collapsed_model, normal_data, run


def clusters(dimensions: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Three groups of 30 points each, far apart."""
    labels = torch.arange(90) % 3
    centres = torch.tensor([[30.0], [20.0], [10.0]]) * torch.eye(dimensions)[:3]
    return centres[labels] + torch.randn(90, dimensions, generator=torch.Generator().manual_seed(0)), labels


def test_two_dimensions_are_drawn_as_they_are():
    means, labels = clusters(3)[0][:, :2], clusters()[1]
    axes, *_ = scatter_of_means(means, labels, "means", "test data").axes
    np.testing.assert_allclose(axes.collections[-1].get_offsets(), means.numpy())
    assert axes.get_title() == "means, test data"


def test_principal_components_are_those_of_scikit_learn():
    means, labels = clusters()
    pca = PCA(2).fit(means.numpy())
    axes, *_ = scatter_of_means(means, labels, "means", "test data").axes
    drawn = np.asarray(axes.collections[-1].get_offsets())
    np.testing.assert_allclose(np.abs(drawn), np.abs(pca.transform(means.numpy())), atol=1e-3)
    assert f"({100 * pca.explained_variance_ratio_.sum():.0f} % of" in axes.get_title()


def test_plane_has_the_quantiles_of_the_principal_components_of_scikit_learn():
    means, _ = clusters()
    pca = PCA().fit(means.numpy())
    z, words = plane_of_means(means, 5)
    found = pca.transform(z.numpy())
    expected = norm.ppf((np.arange(5) + 0.5) / 5)[None] * np.sqrt(pca.explained_variance_[:2] * 89 / 90)[:, None]
    first, second = np.abs(found[:, 0].reshape(5, 5)), np.abs(found[:, 1].reshape(5, 5))
    np.testing.assert_allclose(first, np.abs(expected[0])[None].repeat(5, 0), atol=1e-3)
    np.testing.assert_allclose(second, np.abs(expected[1])[:, None].repeat(5, 1), atol=1e-3)
    np.testing.assert_allclose(found[:, 2:], 0, atol=1e-3)
    assert f"({100 * pca.explained_variance_ratio_[:2].sum():.0f} % of" in words


def test_plane_is_drawn_where_the_means_are():
    """Right of the grid is right of the scatter, top is top."""
    means, _ = clusters()
    z, _ = plane_of_means(means, 5)
    axes, *_ = scatter_of_means(torch.cat([means, z[[4, 24]]]), None, "means", "").axes
    drawn = np.asarray(axes.collections[-1].get_offsets())
    (right, top), (_, bottom) = drawn[-2:]
    assert right > 0
    assert top > bottom


def test_plane_of_two_dimensions_is_that_of_the_prior_and_of_a_line_there_is_none():
    torch.testing.assert_close(plane_of_means(torch.randn(7, 2), 4)[0], plots.manifold_points(4))
    assert plane_of_means(torch.randn(1, 3), 4) is None


@pytest.mark.slow
def test_umap_keeps_groups_together_and_repeats_itself():
    pytest.importorskip("umap")
    means, labels = clusters()
    drawn = by_umap(means)
    assert drawn.shape == (90, 2)
    assert silhouette_score(drawn, labels) > 0.8
    torch.testing.assert_close(by_umap(means), drawn)
    figure = run(Latents(projection="umap"), collapsed_model(4), normal_data(20)).pictures["means"]
    assert figure.axes[0].get_title() == "means of $q(z|x)$ by UMAP, 20 datapoints"
    with pytest.raises(ValueError, match=r"limit must be at least 10 for task.projection=umap, got 9"):
        by_umap(means[:9])


def test_missing_umap_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(
        ConfigError, match=r"^task.projection=umap is an extra; install it with: pip install 'aevb\[umap\]'$"
    ):
        by_umap(clusters()[0])

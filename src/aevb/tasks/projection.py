"""The means of q(z|x) in a plane."""

from typing import Literal

import torch
from matplotlib.figure import Figure
from torch import Tensor

from aevb import plots
from aevb.errors import ConfigError
from aevb.tasks.base import principal_axes

Projection = Literal["pca", "umap"]

FEWEST = 10
"""Datapoints that UMAP needs to have neighbours."""


def scatter_of_means(
    means: Tensor, labels: Tensor | None, what: str, where: str, projection: Projection = "pca"
) -> Figure:
    """The means of q(z|x), (N, latent_dim), in the plane, coloured by label (N,) where labels exist.

    Two latent variables are drawn as they are, more by `projection`: their first two principal components, or UMAP
    (McInnes, Healy & Melville 2018, arXiv 1802.03426) with umap-learn's settings and a fixed seed, which keeps
    neighbours together, while distances between groups and along axes have no meaning.
    """
    if means.shape[1] == 2:
        return plots.latent_scatter(means, labels, f"{what}, {where}")
    if projection == "umap":
        return plots.latent_scatter(by_umap(means), labels, f"{what} by UMAP, {where}", ("UMAP 1", "UMAP 2"))
    centre, directions, share = principal_axes(means, 2)
    caption = f"{what} ({100 * float(share):.0f} % of their variance), {where}"
    return plots.latent_scatter((means - centre) @ directions.T, labels, caption, ("component 1", "component 2"))


def by_umap(means: Tensor) -> Tensor:
    """Means (N, latent_dim) in the plane of UMAP, (N, 2)."""
    try:
        from umap import UMAP  # an extra, which takes seconds to import
    except ImportError as error:
        raise ConfigError("task.projection=umap is an extra; install it with: pip install 'aevb[umap]'") from error
    if len(means) < FEWEST:
        raise ValueError(f"limit must be at least {FEWEST} for task.projection=umap, got {len(means)}")
    model = UMAP(n_neighbors=min(15, len(means) - 1), random_state=0, n_jobs=1)  # only one thread repeats itself
    return torch.from_numpy(model.fit_transform(means.double().cpu().numpy()))

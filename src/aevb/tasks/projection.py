"""The means of q(z|x) in a plane."""

from typing import Literal

import torch
from matplotlib.figure import Figure
from torch import Tensor

from aevb import plots
from aevb.errors import extra
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


def plane_of_means(means: Tensor, size: int) -> tuple[Tensor, str] | None:
    """A grid in the plane that `scatter_of_means` draws: z = m + Σ_k s_k t_k v_k, with t of `plots.manifold_points`.

    m is the mean of the means (N, latent_dim) of q(z|x), v_1 and v_2 are their first two principal directions, and s_k
    the standard deviations along them: the grid's quantiles are those of a Gaussian fitted to the means in this plane.
    Of two latent variables z = t, quantiles of N(0, I), as in figure 4 of Kingma & Welling (2013).

    Shapes: → z (size², latent_dim), and the plane in words; None where the means lie on a line.
    """
    t = plots.manifold_points(size).to(means)
    if means.shape[1] == 2:
        return t, "the plane of z"
    centre, directions, share = principal_axes(means, 2)
    if len(directions) < 2:
        return None
    scales = ((means - centre) @ directions.T).std(0, correction=0)
    words = f"the first two principal components of the means of q(z|x) ({100 * float(share):.0f} % of their variance)"
    return centre + (t * scales) @ directions, words


def by_umap(means: Tensor) -> Tensor:
    """Means (N, latent_dim) in the plane of UMAP, (N, 2)."""
    with extra("umap", "task.projection=umap"):
        from umap import UMAP  # takes seconds
    if len(means) < FEWEST:
        raise ValueError(f"limit must be at least {FEWEST} for task.projection=umap, got {len(means)}")
    model = UMAP(n_neighbors=min(15, len(means) - 1), random_state=0, n_jobs=1)  # only one thread repeats itself
    return torch.from_numpy(model.fit_transform(means.double().cpu().numpy()))

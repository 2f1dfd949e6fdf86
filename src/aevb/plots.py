"""Figures from tensors, and how they get into files."""

import io
import math
from pathlib import Path
from typing import Any

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

from aevb.files import atomic_write


def as_pictures(x: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Datapoints (N, C, H, W) with values in [low, high] → pictures (N, 1 or 3, H, W) in [0, 1].

    Channels other than one or three are averaged into one.
    """
    x = x.detach().float().cpu()
    if x.shape[1] not in (1, 3):
        x = x.mean(1, keepdim=True)
    return ((x - low) / max(high - low, 1e-12)).clamp(0, 1)


def grid(pictures: Tensor, columns: int, padding: int = 1) -> Tensor:
    """Pictures (N, C, H, W) side by side, row after row, as one picture (3, H', W')."""
    tiled: Tensor = make_grid(pictures, nrow=columns, padding=padding, pad_value=1.0)
    return tiled


def reconstruction_grid(originals: Tensor, reconstructions: Tensor, columns: int = 10) -> Tensor:
    """Rows of originals, each with the row of its reconstructions below it."""
    rows = []
    for start in range(0, len(originals), columns):
        rows += [originals[start : start + columns], reconstructions[start : start + columns]]
    return grid(torch.cat(rows), columns)


def save_picture(picture: Tensor, path: Path, min_width: int = 640) -> None:
    """Write a picture (3, H, W) as a PNG file, small ones enlarged by a whole factor so that pixels stay square."""
    factor = max(1, math.ceil(min_width / picture.shape[-1]))
    enlarged = picture.repeat_interleave(factor, -1).repeat_interleave(factor, -2)
    buffer = io.BytesIO()
    to_pil_image((enlarged * 255).round().to(torch.uint8)).save(buffer, format="png")
    atomic_write(path, buffer.getvalue())


def manifold_points(size: int) -> Tensor:
    """The grid of figure 4: the unit square mapped through the inverse CDF of the Gaussian to z.

    Shapes: → (size², 2); the first coordinate grows along the rows' columns, the second from the bottom to the top.
    """
    u = (torch.arange(size) + 0.5) / size
    z = torch.special.ndtri(u)
    vertical, horizontal = torch.meshgrid(z.flip(0), z, indexing="ij")
    return torch.stack([horizontal, vertical], -1).reshape(-1, 2)


def latent_scatter(means: Tensor, labels: Tensor | None) -> Figure:
    """The means of q(z|x), (N, 2), coloured by label (N,) where labels exist."""
    figure = Figure(figsize=(6, 5.2), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    colours: dict[str, Any] = {} if labels is None else {"c": labels.cpu(), "cmap": "tab10"}
    horizontal, vertical = means.cpu().unbind(1)
    points = axes.scatter(horizontal, vertical, s=6, linewidths=0, **colours)
    if labels is not None:
        classes = int(labels.max()) + 1
        points.set_clim(-0.5, max(classes, 10) - 0.5)
        figure.colorbar(points, ticks=range(classes), label="label")
    axes.set(xlabel="$z_1$", ylabel="$z_2$", title="means of $q(z|x)$, test set")
    axes.set_aspect("equal", adjustable="datalim")
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the format that the file's ending names."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format=path.suffix[1:])
    atomic_write(path, buffer.getvalue())


def latent_bars(variance: Tensor, kl: Tensor | None, threshold: float) -> Figure:
    """The variance over x of E_q[z|x], (D,), and the KL of each dimension in nats, (D,), if it is known.

    Dimensions come in the order of the variance; where it is below the threshold, bars are grey.
    """
    order = variance.argsort(descending=True).cpu()
    figure = Figure(figsize=(6, 4.4 if kl is not None else 2.4), dpi=120, layout="constrained")
    panels = {"variance of $E_q[z|x]$": variance} | ({} if kl is None else {"KL in nats": kl})
    colours = ["tab:blue" if value > threshold else "lightgrey" for value in variance.cpu()[order].tolist()]
    for number, (label, values) in enumerate(panels.items()):
        axes = figure.add_subplot(len(panels), 1, number + 1)
        axes.bar(range(len(order)), values.cpu()[order].tolist(), color=colours)
        axes.set(ylabel=label, xlabel="dimension of z", xticks=range(len(order)))
        axes.set_xticklabels(
            order.tolist(), fontsize=6 if len(order) > 20 else 8, rotation=90 if len(order) > 30 else 0
        )
    return figure

"""Pictures and figures of tensors."""

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional

from aevb.files import atomic_write

Rows = Sequence[tuple[str, Tensor]]
"""Titles of rows, and the datapoints (n, *data_shape) in each."""

MIN_WIDTH = 640
"""Width of a picture without titles, in pixels; the images of smaller ones are enlarged by an integer factor."""
MAX_WIDTH = 2560
MAX_SIDE = 256
"""Side of one image in a picture, in pixels."""
SMALL = 16
"""Images with at most this many pixels at a side are enlarged by cubic interpolation, larger ones pixel by pixel."""
GAP = 2
"""Between the images of a picture, in pixels."""
MAX_FRAMES = 10
"""Of a sequence of images, drawn side by side."""
FRAME_DURATION = 200
"""Of an animation, in milliseconds."""
MAX_COLUMNS = 1024
"""Columns of a heat map of vectors; more dimensions are averaged in groups."""
MAX_CLASSES = 20
"""Maximum number of labels that have a colour each."""
FONT_SIZE = 14


def is_image(shape: Sequence[int]) -> bool:
    """Whether datapoints of a shape (C, H, W) are drawn as images, not as a heat map (vectors and narrow strips)."""
    height, width = (1, *shape)[-2:]
    return min(height, width) > 1 and max(height, width) <= 16 * min(height, width)


def laid_out(x: Tensor) -> Tensor:
    """Datapoints as images (N, C, H, W): (N, T, D) with a row for each step, (N, T, C, H, W) as frames side by side."""
    if x.ndim == 3:
        return x.unsqueeze(1)
    if x.ndim == 5:
        shown = torch.linspace(0, x.shape[1] - 1, min(x.shape[1], MAX_FRAMES)).round().long()
        return torch.cat(x[:, shown.to(x.device)].unbind(1), dim=-1)
    return x


def reduced(x: Tensor) -> Tensor:
    """Datapoints (N, *data_shape) at the resolution of a picture, (N, C, H, W); vectors as (N, 1, 1, D)."""
    x = laid_out(x.detach().float().cpu())
    if not is_image(x.shape[1:]):
        x = x.flatten(1)
        return functional.adaptive_avg_pool1d(x, min(MAX_COLUMNS, x.shape[1]))[:, None, None]
    return shrunk(x, MAX_SIDE)


def shrunk(x: Tensor, side: int) -> Tensor:
    """Images (N, C, H, W) reduced to at most `side` pixels on the longer side."""
    factor = max(x.shape[-2:]) / side
    if factor <= 1:
        return x
    size = [max(1, int(length / factor)) for length in x.shape[-2:]]
    return functional.interpolate(x, size, mode="area")


def as_pictures(x: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Datapoints (N, C, H, W) with values in [low, high] → pictures (N, 1 or 3, H, W) in [0, 1].

    Channels other than one or three are averaged into one.
    """
    x = x.detach().float().cpu()
    if x.shape[1] not in (1, 3):
        x = x.mean(1, keepdim=True)
    return ((x - low) / max(high - low, 1e-12)).nan_to_num().clamp(0, 1)


def grid(pictures: Tensor, columns: int) -> Tensor:
    """Pictures (N, 1 or 3, H, W) in [0, 1] side by side, row by row, in one (3, H', W'), with white lines between.

    Small ones are enlarged by an integer factor until a row has `MIN_WIDTH` pixels.
    """
    pictures = shrunk(pictures, max(1, MAX_WIDTH // columns))
    pictures = enlarged(pictures, math.ceil(MIN_WIDTH / (columns * pictures.shape[-1])))
    return tiles(pictures, columns, GAP)


def tiles(pictures: Tensor, columns: int, gap: int = 0) -> Tensor:
    """Pictures (N, 1 or 3, H, W) side by side, row by row, in one (3, H', W'), white gaps between and around."""
    from torchvision.utils import make_grid  # takes a moment to import, and only pictures need it

    joined: Tensor = make_grid(pictures, columns, padding=gap, pad_value=1.0)
    return joined


def enlarged(pictures: Tensor, factor: int) -> Tensor:
    """Pictures (N, C, H, W) in [0, 1] enlarged by a factor; smoothly, if they are `SMALL`."""
    if max(pictures.shape[-2:]) > SMALL:
        return pictures.repeat_interleave(factor, -1).repeat_interleave(factor, -2)
    size = [factor * side for side in pictures.shape[-2:]]
    return functional.interpolate(pictures, size, mode="bicubic", antialias=True).clamp(0, 1)


def limits(x: Tensor) -> tuple[float, float]:
    """The values of black and white in pictures of datapoints: 0 and 1, or the extremes of x beyond them."""
    return min(0.0, float(x.min())), max(1.0, float(x.max()))


def show(
    rows: Rows, shape: Sequence[int], caption: str = "", low: float = 0.0, high: float = 1.0
) -> Image.Image | Figure:
    """A picture of rows of datapoints: images with values from `low` (black) to `high` (white), or heat maps.

    Args:
        rows: Rows of equal length, except the last; titles may be empty, or repeated.
        shape: Of a datapoint; those in `rows` may be `reduced` already.
        caption: Above the picture.
        low, high: The values of black and white; a heat map scales by its own values.
    """
    x = torch.cat([row if row.shape[1:] != tuple(shape) else reduced(row) for _, row in rows])
    if not is_image(laid_out(torch.empty(0, *shape)).shape):
        groups: dict[str, list[Tensor]] = {}
        for (title, _), part in zip(rows, x.flatten(1).split([len(row) for _, row in rows]), strict=True):
            groups.setdefault(title, []).append(part)
        return heat_maps({title: torch.cat(parts) for title, parts in groups.items()}, math.prod(shape), caption)
    tiled = grid(as_pictures(x, low, high), len(rows[0][1]))
    return labelled(image_of(tiled), [title for title, _ in rows], caption)


def paired(names: tuple[str, str], first: Tensor, second: Tensor, columns: int = 10) -> Rows:
    """Rows of `first` (N, *data_shape), each with the row of `second` below it."""
    pairs = zip(first.split(columns), second.split(columns), strict=True)
    return [(name, row) for pair in pairs for name, row in zip(names, pair, strict=True)]


def image_of(picture: Tensor) -> Image.Image:
    """A picture (3, H, W) in [0, 1] with eight bits for each value."""
    return Image.fromarray((picture * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy())


def labelled(image: Image.Image, titles: Sequence[str] = (), caption: str = "") -> Image.Image:
    """An image with titles on its left, evenly spread, and a caption above."""
    left = max((round(font().getlength(title)) + 16 for title in titles if title), default=0)
    lines = textwrap.wrap(caption, max(20, int((image.width + left) / font().getlength("n"))))
    top = len(lines) * (FONT_SIZE + 4) + 8 if lines else 0
    page = Image.new("RGB", (image.width + left, image.height + top), "white")
    page.paste(image, (left, top))
    draw = ImageDraw.Draw(page)
    for number, line in enumerate(lines):
        draw.text((6, 4 + number * (FONT_SIZE + 4)), line, "black", font())
    for number, title in enumerate(titles):
        middle = top + (number + 0.5) * image.height / len(titles)
        draw.text((left - 8, middle), title, "black", font(), anchor="rm")
    return page


@cache
def font() -> ImageFont.FreeTypeFont:
    """A font of matplotlib that has mathematical symbols."""
    return ImageFont.truetype(findfont("DejaVu Sans"), FONT_SIZE)


def heat_maps(groups: Mapping[str, Tensor], dimensions: int, caption: str = "") -> Figure:
    """A heat map for each group of vectors (n, D), with a row for each vector; the group "data" sets the colour scale.

    D is less than `dimensions` where neighbours are averaged.
    """
    heights = [max(0.5, min(4.0, 0.055 * len(group))) for group in groups.values()]
    figure = Figure(figsize=(7.5, sum(heights) + 0.3 * len(groups) + 0.9), dpi=120, layout="constrained")
    panels = figure.subplots(len(groups), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    values = groups.get("data", torch.cat(list(groups.values()))).nan_to_num().numpy()
    low, high = np.percentile(values, (0.5, 99.5))
    scale = Normalize(low, high if high > low else low + 1)
    for axes, (title, group) in zip(panels, groups.items(), strict=True):
        extent = (-0.5, dimensions - 0.5, len(group) - 0.5, -0.5)
        axes.imshow(group.numpy(), aspect="auto", interpolation="nearest", norm=scale, extent=extent)
        axes.set(yticks=[])
        axes.set_title(title, fontsize="medium")
    panels[-1].set_xlabel("dimension of x")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    figure.suptitle(caption, fontsize="medium", wrap=True)
    figure.colorbar(ScalarMappable(scale), ax=list(panels), extend="both", label="value")
    return figure


def manifold_points(size: int) -> Tensor:
    """The grid of figure 4: the unit square mapped through the inverse CDF of the Gaussian to z.

    Shapes: → (size², 2); the first coordinate grows along the rows' columns, the second from the bottom to the top.
    """
    u = (torch.arange(size) + 0.5) / size
    z = torch.special.ndtri(u)
    vertical, horizontal = torch.meshgrid(z.flip(0), z, indexing="ij")
    return torch.stack([horizontal, vertical], -1).reshape(-1, 2)


def manifold(
    means: Tensor,
    shape: Sequence[int],
    caption: str,
    low: float = 0.0,
    high: float = 1.0,
    names: tuple[str, str] = ("$z_1$", "$z_2$"),
) -> Image.Image | Figure:
    """Means of p(x|z) (size², C, H, W) at `manifold_points` of a plane with axes `names`.

    Of vectors, a map of the plane for each of 16 dimensions.
    """
    size = math.isqrt(len(means))
    if is_image(shape):
        return show([("", row) for row in means.split(size)], shape, caption, low, high)
    values = means.flatten(1)[:, :16].T.unflatten(1, (size, size)).cpu().numpy()
    per_value = math.prod(shape) // means.flatten(1).shape[1]  # averaged neighbours
    columns = min(4, len(values))
    lines = math.ceil(len(values) / columns)
    figure = Figure(figsize=(2.2 * columns + 0.4, 2.2 * lines + 0.6), dpi=120, layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).flat
    for number, axes in enumerate(panels):
        axes.set(xticks=[], yticks=[])
        if number >= len(values):
            axes.set_axis_off()
            continue
        axes.imshow(values[number], interpolation="nearest")
        axes.set_title(f"$x_{{{number * per_value}}}$", fontsize="medium")
    figure.supxlabel(names[0], fontsize="medium")
    figure.supylabel(names[1], fontsize="medium")
    figure.suptitle(caption, fontsize="medium", wrap=True)
    return figure


def latent_scatter(
    means: Tensor, labels: Tensor | None, caption: str = "", names: tuple[str, str] = ("$z_1$", "$z_2$")
) -> Figure:
    """The means of q(z|x), (N, 2), coloured by label (N,) where labels exist.

    Up to `MAX_CLASSES` labels have a colour each; more are shown on a continuous scale. Labels that are not finite
    count as missing, and are grey.
    """
    figure = Figure(figsize=(6.4, 5.2), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    style: dict[str, Any] = {"s": min(24, max(6, 4000 / max(1, len(means)))), "linewidths": 0}
    points = means.detach().float().cpu().numpy()
    values = np.full(len(points), np.nan) if labels is None else labels.cpu().double().numpy()
    known = np.isfinite(values)
    grey = "tab:blue" if labels is None else "lightgrey"
    missing = axes.scatter(points[~known, 0], points[~known, 1], color=grey, **style)
    classes = np.unique(values[known])
    if 0 < len(classes) <= MAX_CLASSES:
        colours = ListedColormap(colormaps["tab10" if len(classes) <= 10 else "tab20"](np.arange(len(classes))))
        index = np.searchsorted(classes, values[known])
        norm = BoundaryNorm(np.arange(len(classes) + 1) - 0.5, len(classes))
        drawn = axes.scatter(points[known, 0], points[known, 1], c=index, cmap=colours, norm=norm, **style)
        bar = figure.colorbar(drawn, ticks=np.arange(len(classes)), label="label")
        bar.set_ticklabels([f"{value:.10g}" for value in classes])
        bar.ax.minorticks_off()
    elif len(classes):
        low, high = np.percentile(values[known], (1, 99))
        drawn = axes.scatter(
            points[known, 0], points[known, 1], c=values[known], cmap="viridis", vmin=low, vmax=high, **style
        )
        figure.colorbar(drawn, label=f"label ({len(classes):,} different)", extend="both")
    if labels is not None and not known.all():
        axes.legend([missing], ["no label"], fontsize="small")
    axes.set(xlabel=names[0], ylabel=names[1])
    axes.set_title(caption or "means of $q(z|x)$", fontsize="medium")
    axes.set_aspect("equal", adjustable="datalim")
    return figure


def latent_bars(variance: Tensor, kl: Tensor | None, threshold: float, caption: str = "") -> Figure:
    """The variance over x of E_q[z|x], (D,), and the KL of each dimension in nats, (D,), if it is known.

    Dimensions are sorted by variance; bars are grey where it is below the threshold.
    """
    order = variance.argsort(descending=True).cpu()
    figure = Figure(figsize=(6, 4.6 if kl is not None else 2.6), dpi=120, layout="constrained")
    panels = {"variance of $E_q[z|x]$": variance} | ({} if kl is None else {"KL in nats": kl})
    colours = ["tab:blue" if value > threshold else "lightgrey" for value in variance.cpu()[order].tolist()]
    ticks = range(0, len(order), max(1, len(order) // 50))
    for number, (label, values) in enumerate(panels.items()):
        axes = figure.add_subplot(len(panels), 1, number + 1)
        axes.bar(range(len(order)), values.cpu()[order].tolist(), color=colours)
        axes.set(ylabel=label, xlabel="dimension of z", xticks=ticks)
        axes.set_xticklabels(
            [str(order[tick].item()) for tick in ticks],
            fontsize=6 if len(order) > 20 else 8,
            rotation=90 if len(order) > 30 else 0,
        )
    figure.suptitle(caption, fontsize="medium", wrap=True)
    return figure


def kl_bars(kls: Sequence[float], part: str, total: float) -> Figure:
    """The KL of each part of z, such as a layer or a step, in nats, and that of all, on average over datapoints."""
    figure = Figure(figsize=(6, 2.6), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.bar(range(1, len(kls) + 1), kls)
    axes.set(ylabel="KL in nats", xlabel=part)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    of_each = "; of a step, over the sequences that have it" if part == "step" else ""
    axes.set_title(f"{total:.2f} nats in all{of_each}", fontsize="medium")
    return figure


def confusion(counts: Tensor, caption: str = "") -> Figure:
    """How many datapoints of each class (rows) were taken for each class (columns), (classes, classes)."""
    shares = counts.double() / counts.sum(1, keepdim=True).clamp(min=1)
    classes = len(counts)
    figure = Figure(figsize=(min(9, 2.5 + 0.4 * classes),) * 2, dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    if classes <= MAX_CLASSES:
        for (row, column), count in np.ndenumerate(counts.numpy()):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{count}" if count else "", color=colour, ha="center", va="center", fontsize=7)
        axes.set(xticks=range(classes), yticks=range(classes))
    axes.set(xlabel="class found", ylabel="class")
    figure.suptitle(caption, fontsize="medium", wrap=True)
    return figure


def matrix(values: Tensor, rows: str, columns: str, caption: str = "") -> Figure:
    """A matrix of values of at least 0, (R, C), with what its rows and columns are."""
    height, width = values.shape
    figure = Figure(figsize=(min(9, 3 + 0.4 * width), min(9, 1.6 + 0.4 * height)), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    figure.colorbar(axes.imshow(values.numpy(), cmap="Blues", vmin=0))
    axes.set(xlabel=columns, ylabel=rows)
    if max(width, height) <= MAX_CLASSES:
        axes.set(xticks=range(width), yticks=range(height))
    figure.suptitle(caption, fontsize="medium", wrap=True)
    return figure


def save(picture: Image.Image | Figure | Sequence[Image.Image], path: Path) -> None:
    """Write a picture, a figure or the frames of an animation in the format of the file name's suffix."""
    buffer = io.BytesIO()
    if isinstance(picture, Sequence):
        first, *others = picture
        first.save(buffer, path.suffix[1:], save_all=True, append_images=others, duration=FRAME_DURATION, loop=0)
    elif isinstance(picture, Figure):
        FigureCanvasAgg(picture)
        picture.savefig(buffer, format=path.suffix[1:])
    else:
        picture.save(buffer, format=path.suffix[1:])
    atomic_write(path, buffer.getvalue())

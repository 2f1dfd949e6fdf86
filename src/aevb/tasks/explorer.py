"""A page to move through the latent space with a pointer."""

import base64
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL.Image import Image
from torch import Tensor

from aevb import pages, plots
from aevb.data.module import Split
from aevb.tasks.base import Task, TaskResult, encoded_means, principal_axes
from aevb.tasks.traversal import decoded
from aevb.types import Positive, Size
from aevb.vae import VAE

MAX_AXES = 4
STEPS = 5
"""Of an axis with a slider; values between are interpolated."""
SIDE = 64
"""Pictures in the page have at most this many pixels at a side."""


@dataclass(frozen=True)
class Explorer(Task):
    """A page that shows the mean of p(x|z) under the pointer, and the training data whose means of q(z|x) are nearest.

    The map has the two dimensions of z, or the first two principal components of the means of q(z|x) where z has
    more; the third and fourth have sliders. The page holds a table of decoded pictures over these axes and interpolates
    linearly between them; it needs neither a server nor a network.

    Args:
        pictures: In the table, at most.
        span: Of the axes around the mean, in standard deviations of the means of q(z|x).
    """

    name: ClassVar[str] = "explorer"
    train_limit: ClassVar[int | None] = 1000

    pictures: Size = 2500
    span: Positive = 2.5

    def run(self, vae: VAE, data: Split, train: Split, rows: int) -> TaskResult:
        means, nearby = encoded_means(vae, data), encoded_means(vae, train)
        centre, directions, share = principal_axes(means, MAX_AXES)
        coordinates = (means - centre) @ directions.T
        middle, half = coordinates.mean(0), self.span * coordinates.std(0, correction=0).clamp(min=1e-6)
        low, high = middle - half, middle + half
        counts = steps(len(directions), self.pictures)
        ends = zip(low.tolist(), high.tolist(), counts, strict=True)
        grid = torch.cartesian_prod(*(torch.linspace(*axis) for axis in ends))
        z = centre + grid.reshape(-1, len(directions)).to(centre) @ directions
        table = sheet(decoded(vae.p, z, rows), plots.limits(data.x))
        is_rotated = means.shape[1] > 2
        variables: dict[str, Any] = {
            "low": low.tolist(),
            "high": high.tolist(),
            "counts": counts,
            "centre": centre.tolist(),
            "directions": directions.tolist(),
            "points": coordinates[:, :2].tolist(),
            "labels": labels(data),
            "means": nearby.tolist(),
            "exampleLabels": labels(train),
            "table": table,
            "examples": sheet(train.x, plots.limits(data.x)),
            "names": [f"component {i + 1}" if is_rotated else f"z{i + 1}" for i in range(len(directions))],
        }
        axes = (
            f"Axes: principal components of the means of q(z|x); the {len(directions)} shown have "
            f"{100 * float(share):.0f} % of their variance."
            if is_rotated
            else "Axes: the dimensions of z."
        )
        page = pages.render(
            Path(__file__).with_name("explorer.html.jinja"),
            title="Latent space",
            note=f"{len(data.x):,} datapoints, coloured by label where they have one, and {len(train.x):,} training"
            " datapoints to compare with.",
            axes=axes,
            data=rounded(variables),
        )
        return TaskResult({"axes": len(directions), "variance_shown": float(share)}, [axes], {}, {"": page})


def steps(axes: int, pictures: int) -> list[int]:
    """Pictures along each axis, so that all have at most `pictures`: many on the map, few along sliders."""
    sliders = [STEPS] * (axes - 2)
    on_map = max(2, int((pictures / math.prod(sliders)) ** (1 / min(axes, 2)) + 1e-9))
    return [on_map] * min(axes, 2) + sliders


def sheet(x: Tensor, limits: tuple[float, float]) -> dict[str, Any]:
    """Datapoints (N, C, H, W) on one PNG, row by row without gaps, and the sizes by which a page finds them."""
    images = plots.as_pictures(plots.shrunk(plots.reduced(x), SIDE), *limits)
    columns = math.ceil(len(images) ** 0.5)
    height, width = images.shape[-2:]
    picture = plots.image_of(plots.tiles(images, columns))
    packed = png(picture if images.shape[1] == 3 else picture.convert("L"))
    return {"png": packed, "columns": columns, "width": width, "height": height}


def png(image: Image) -> str:
    """An image as PNG in base 64."""
    buffer = io.BytesIO()
    image.save(buffer, format="png", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def labels(data: Split) -> list[int] | None:
    """The labels of datapoints, where they have any."""
    return None if data.classes is None else data.classes.tolist()


def rounded(value: Any) -> Any:
    """A value with floats of four significant digits, as a page needs no more."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value

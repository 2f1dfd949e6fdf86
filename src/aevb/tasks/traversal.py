"""Means of p(x|z) along lines in the latent space."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from aevb import plots
from aevb.data.module import Split
from aevb.tasks.base import Task, TaskResult, encoded_means, num_classes
from aevb.types import AtLeastTwo, CountOrZero, Positive, Size
from aevb.vae import VAE, GenerativeModel


@dataclass(frozen=True)
class Traversal(Task):
    """A row of means of p(x|z) for each dimension of z, which varies from −`span` to `span`; the others are fixed.

    They are fixed at the mean of q(z|x) of the first datapoint. Positive values, and values in (0, 1), vary between
    the 1 % and 99 % quantiles of the prior instead; on the simplex or the sphere, and of one-hot values, no dimension
    varies by itself. Dimensions are sorted by the variance of their means over the datapoints, highest first. Given a
    condition, that of the first datapoint holds for all pictures, or a label of your choice.

    Args:
        dimensions: Maximum number of rows.
        steps: Pictures per row.
        span: Largest value of the dimension.
        label: Class of the pictures, of a model given labels; None: that of the first datapoint.
    """

    name: ClassVar[str] = "traversal"
    takes_condition: ClassVar[bool] = True

    dimensions: Size = 20
    steps: AtLeastTwo = 11
    span: Positive = 3.0
    label: CountOrZero | None = None

    def run(self, vae: VAE, data: Split, train: Split, rows: int) -> TaskResult:
        if (support := vae.p.prior.support) in ("on the simplex", "on the sphere", "one-hot", "among codes"):
            raise ValueError(f"task=traversal moves one dimension of z by itself, but z is {support}")
        low, high = self.limits(vae)
        means = encoded_means(vae, data)
        order = means.var(0, correction=0).argsort(descending=True)[: self.dimensions]
        z = means[0].repeat(len(order), self.steps, 1)
        for row, dimension in enumerate(order.tolist()):
            z[row, :, dimension] = torch.linspace(low, high, self.steps)
        c = self.condition(vae, data)
        c = None if c is None else c.expand(len(order) * self.steps, *c.shape)
        means = decoded(vae.p, z, rows, c).split(self.steps)
        titles = [f"z[{dimension}]" for dimension in order.tolist()]
        caption = f"means of p(x|z), one dimension of z from {low:.3g} to {high:.3g}, the others fixed".replace(
            "-", "−"
        )
        picture = plots.show(list(zip(titles, means, strict=True)), vae.p.data_shape, caption, *plots.limits(data.x))
        return TaskResult({"dimensions": order.tolist()}, [f"rows: dimensions {order.tolist()} of z"], {"": picture})

    def condition(self, vae: VAE, data: Split) -> Tensor | None:
        """The condition of all pictures; None where the model takes none."""
        if self.label is None:
            return None if data.c is None else data.c[0]
        classes = num_classes(vae, self)
        if self.label >= classes:
            raise ValueError(f"task.label must be a class from 0 to {classes - 1}, got {self.label}")
        return torch.eye(classes, device=data.x.device)[self.label]

    def limits(self, vae: VAE) -> tuple[float, float]:
        """The least and the largest value of the dimension that varies."""
        if vae.p.prior.support == "real":
            return -self.span, self.span
        low, high = vae.p.sample_prior(1, 10_000).flatten().float().quantile(torch.tensor([0.01, 0.99])).tolist()
        return low, high


@dataclass(frozen=True)
class Interpolation(Task):
    """Rows of means of p(x|z) on the line between the means of q(z|x) of two datapoints, which are at the ends.

    On the sphere it is the great circle's arc. Conditions, where there are some, change with z along the line.

    Args:
        pairs: Maximum number of rows.
        steps: Pictures between the datapoints.
    """

    name: ClassVar[str] = "interpolation"
    takes_condition: ClassVar[bool] = True

    pairs: Size = 8
    steps: AtLeastTwo = 10

    def run(self, vae: VAE, data: Split, train: Split, rows: int) -> TaskResult:
        if len(data.x) < 2:
            raise ValueError("limit must be at least 2 for task=interpolation, got 1")
        count = min(self.pairs, len(data.x) // 2)
        first, last = data.take(slice(count)), data.take(slice(count, 2 * count))
        z = self.between(encoded_means(vae, first), encoded_means(vae, last))
        if vae.p.prior.support == "on the sphere":
            z = F.normalize(z, dim=-1)
        c = None if first.c is None or last.c is None else self.between(first.c, last.c).flatten(0, 1)
        between = decoded(vae.p, z, rows, c).unflatten(0, (count, self.steps))
        pairs = torch.cat([first.x.unsqueeze(1), between, last.x.unsqueeze(1)], 1)
        caption = "means of p(x|z) on the line between the means of q(z|x) of two datapoints, which are at the ends"
        named = [(f"pair {number + 1}", row) for number, row in enumerate(pairs)]
        picture = plots.show(named, vae.p.data_shape, caption, *plots.limits(data.x))
        return TaskResult({"pairs": count}, [], {"": picture})

    def between(self, start: Tensor, end: Tensor) -> Tensor:
        """Points on the lines from start (N, ...) to end, (N, steps, ...)."""
        share = torch.linspace(0, 1, self.steps, device=start.device, dtype=start.dtype)
        return torch.stack([start.lerp(end, float(s)) for s in share], 1)


@torch.no_grad()
def decoded(p: GenerativeModel, z: Tensor, rows: int, c: Tensor | None = None) -> Tensor:
    """Means of p(x|z): z (..., latent_dim) → (N, *data_shape), N the product of the batch; c (N, *condition_shape)."""
    chunks = Split(z.flatten(0, -2), c=c).chunks(rows)
    return torch.cat([p.given(chunk.c).likelihood(chunk.x.unsqueeze(0)).mean[0] for chunk in chunks])

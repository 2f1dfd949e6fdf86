"""Inpainting, super-resolution and denoising, applications that the paper's introduction names."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from aevb import plots
from aevb.data.module import Split
from aevb.tasks.base import Task, TaskResult
from aevb.tasks.chain import KnownPixels, NoisyPixels, Observation, restore
from aevb.tasks.masks import Half, Lattice, Mask
from aevb.types import AtLeastTwo, Count, CountOrZero, Fraction
from aevb.vae import VAE

PICTURES = 10

LOW_ACCEPTANCE = 0.02


@dataclass(frozen=True)
class Imputation(Task):
    """Restores images by the model and by baselines, and compares their PSNR.

    The model's restoration is the mean over several chains, see `aevb.tasks.chain.restore`, which start at the nearest
    training image, as the encoder is reliable there.

    Args:
        num_chains: Chains per image.
        burn_in: Discarded steps of a chain.
        num_steps: Averaged steps of a chain.
    """

    takes_condition: ClassVar[bool] = True
    train_limit: ClassVar[int | None] = None

    num_chains: Count = 10
    burn_in: CountOrZero = 50
    num_steps: Count = 50

    def by_model(
        self, vae: VAE, start: Split, observe: Callable[[Tensor], Observation], rows: int
    ) -> tuple[Tensor, float]:
        """Restored images (N, *data_shape), and the mean acceptance probability of the chains' proposals.

        Args:
            vae: The model.
            start: Initial images (N, *data_shape), and their conditions if there are any.
            observe: Indices (B,) → the observation of these images.
            rows: Samples of z that may be decoded at once.
        """
        images, acceptances = [], []
        for index in torch.arange(len(start.x), device=start.x.device).split(max(1, rows // self.num_chains)):
            repeated = index.repeat(self.num_chains)
            x, _, c = start.take(repeated)
            mean, acceptance = restore(vae.given(c, len(x)), x, observe(repeated), self.burn_in, self.num_steps)
            images.append(mean.unflatten(0, (self.num_chains, -1)).mean(0))
            acceptances.append(acceptance)
        return torch.cat(images), float(torch.cat(acceptances).mean())

    def impute(self, vae: VAE, data: Split, mask: Mask, train: Tensor, rows: int) -> TaskResult:
        """Restore the values of x (N, *data_shape) that a mask hides."""
        x = data.x
        if x.ndim != 4:
            raise ValueError(f"task={self.name} needs images (C, H, W), got datapoints of shape {tuple(x.shape[1:])}")
        observed = mask.observed(len(x), x.shape[1:]).to(x.device).expand_as(x)
        if bool(observed.all()) or not bool(observed.any()):
            raise ValueError(f"task={self.name} needs images with missing pixels, got {tuple(x.shape[1:])}")
        neighbour = torch.where(observed, x, nearest(x, train, observed, rows))
        start = data._replace(x=neighbour)
        restored, acceptance = self.by_model(vae, start, lambda index: KnownPixels(x[index], observed[index]), rows)
        methods = {
            "model": restored,
            "mean_image": torch.where(observed, x, train.mean(0)),
            "nearest_neighbour": neighbour,
        }
        grey = torch.full_like(x, 0.5 * (float(x.min()) + float(x.max())))
        return compared(x, torch.where(observed, x, grey), methods, ~observed, acceptance)


@dataclass(frozen=True)
class Inpaint(Imputation):
    """Restores the pixels that a mask hides."""

    name: ClassVar[str] = "inpaint"

    mask: Mask = field(default_factory=Half)

    def run(self, vae: VAE, data: Split, train: Split, rows: int) -> TaskResult:
        return self.impute(vae, data, self.mask, train.x, rows)


@dataclass(frozen=True)
class SuperResolution(Imputation):
    """Restores images from every `factor`-th pixel of every `factor`-th row."""

    name: ClassVar[str] = "super_resolution"

    factor: AtLeastTwo = 2

    def run(self, vae: VAE, data: Split, train: Split, rows: int) -> TaskResult:
        return self.impute(vae, data, Lattice(self.factor), train.x, rows)


@dataclass(frozen=True)
class Denoise(Imputation):
    """Restores images in which a share of the values, at unknown places, is replaced by noise.

    The noise is uniform: over the values that occur if x is discrete or binary, otherwise between the lowest and the
    highest value.

    Args:
        share: Probability that a value is replaced.
    """

    name: ClassVar[str] = "denoise"

    share: Fraction = 0.3

    def run(self, vae: VAE, data: Split, train: Split, rows: int) -> TaskResult:
        x = data.x
        noise, density = uniform_noise(x, vae.p.head.discrete)
        shown = torch.where(torch.rand(x.shape).to(x.device) < self.share, noise, x)
        everything = torch.ones_like(x, dtype=torch.bool)
        neighbour = nearest(shown, train.x, everything, rows)
        start = data._replace(x=neighbour)
        restored, acceptance = self.by_model(
            vae, start, lambda index: NoisyPixels(shown[index], self.share, density), rows
        )
        methods = {
            "model": restored,
            "mean_image": train.x.mean(0).expand_as(x),
            "nearest_neighbour": neighbour,
            "nothing_done": shown,
        }
        return compared(x, shown, methods, everything, acceptance)


def uniform_noise(x: Tensor, discrete: bool) -> tuple[Tensor, float]:
    """Noise of the shape of x, and its density, or the probability of each level."""
    levels = x.unique()
    if discrete or len(levels) == 2:
        return levels[torch.randint(len(levels), x.shape).to(x.device)], 1 / len(levels)
    low, high = float(x.min()), float(x.max())
    return low + (high - low) * torch.rand(x.shape).to(x), 1 / max(high - low, 1e-12)


def nearest(x: Tensor, train: Tensor, observed: Tensor, rows: int) -> Tensor:
    """The training images nearest to x (N, *data_shape) in the squared error of the observed values."""
    candidates = train.flatten(1)
    squares, found = candidates.square().T, []
    for image, seen in zip(x.flatten(1).split(rows), observed.flatten(1).split(rows), strict=True):
        weight = seen.to(image)
        found.append((weight @ squares - 2 * (weight * image) @ candidates.T).argmin(1))
    return train[torch.cat(found)]


def compared(x: Tensor, shown: Tensor, methods: dict[str, Tensor], counted: Tensor, acceptance: float) -> TaskResult:
    """The PSNR of each method over the counted values, and a picture of originals, inputs and restorations."""
    values = {name: psnr(restored, x, counted) for name, restored in methods.items()}
    rows = {"data": x, "shown": shown} | {name.replace("_", " "): restored for name, restored in methods.items()}
    first = [(title, images[:PICTURES]) for title, images in rows.items()]
    caption = "images, input, and restorations by the model and by baselines"
    picture = plots.show(first, x.shape[1:], caption, *plots.limits(x))
    best = max((name for name in values if name != "model"), key=values.__getitem__)
    verdict = "better" if values["model"] > values[best] else "worse"
    words = [
        f"PSNR of the model {values['model']:.2f} dB, {verdict} than the best baseline, "
        f"{best.replace('_', ' ')} ({values[best]:.2f} dB)"
    ]
    if acceptance < LOW_ACCEPTANCE:
        words.append(
            f"warning: only {acceptance:.1%} of the chains' proposals are accepted, so they hardly move from their "
            "start; raise task.burn_in and task.num_steps"
        )
    results = {f"psnr_{name}": value for name, value in values.items()}
    return TaskResult(results | {"acceptance": acceptance}, words, {"": picture})


def psnr(restored: Tensor, x: Tensor, counted: Tensor) -> float:
    """Peak signal-to-noise ratio over the counted values, 10 log₁₀(range² / mean squared error), in decibels."""
    span = max(1.0, float(x.max())) - min(0.0, float(x.min()))
    error = float((restored - x)[counted].square().mean())
    return math.inf if error == 0 else 10 * math.log10(span**2 / error)

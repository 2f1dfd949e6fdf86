"""What each layer of latent variables contributes to the data that a model generates."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from aevb import plots
from aevb.data.module import Split
from aevb.distributions.chain import Chain
from aevb.tasks.base import Task, TaskResult
from aevb.tasks.traversal import decoded
from aevb.types import AtLeastTwo, Size
from aevb.vae import VAE


@dataclass(frozen=True)
class Layers(Task):
    """A picture of means of p(x|z), z ~ p(z), with the upper layers fixed and those below drawn anew in each column.

    In numbers, the share of the variance of f(z) = E[x|z] that remains on average when z_l and the layers above it are
    fixed, E[Var(f | z_≥l)] / Var(f), summed over the values of x. By two draws f, f' with the upper layers in common it
    is E‖f − f'‖² / 2 over the same with none.

    Args:
        examples: Draws of the upper layers in the picture.
        columns: Draws of the lower layers for each.
        num_samples: Pairs of draws for the shares.
    """

    name: ClassVar[str] = "layers"

    examples: Size = 4
    columns: AtLeastTwo = 10
    num_samples: AtLeastTwo = 500

    @torch.no_grad()
    def run(self, vae: VAE, data: Split, train: Split, rows: int) -> TaskResult:
        prior = vae.p.prior()
        if not isinstance(prior, Chain) or len(prior.sizes) < 2:
            raise ValueError("task=layers needs a model of several layers of latent variables, such as model=ladder")
        z = prior.sample((self.examples, 1))
        redrawn = [
            prior.redraw(fixed(prior, z, count), (self.examples, self.columns)) for count in range(1, len(prior.sizes))
        ]
        means = [decoded(vae.p, draws, rows).unflatten(0, draws.shape[:2]) for draws in redrawn]
        titles = [title(prior, count) for count in range(1, len(prior.sizes))]
        pictures = [(name, part[row]) for row in range(self.examples) for name, part in zip(titles, means, strict=True)]
        caption = "means of p(x|z), z ~ p(z), with the upper layers fixed and the others drawn anew in each column"
        picture = plots.show(pictures, vae.p.data_shape, caption, *plots.limits(data.x))
        shares = remaining_variance(vae, prior, self.num_samples, rows)
        words = [
            f"with {name}, {share:.0%} of the variance of the means of p(x|z) remain"
            for name, share in zip(titles, shares, strict=True)
        ]
        return TaskResult({"remaining_variance": dict(zip(titles, shares, strict=True))}, words, {"": picture})


def fixed(prior: Chain, z: Tensor, count: int) -> list[Tensor | None]:
    """The blocks of z that are drawn first, `count` of them; None for the others."""
    blocks: list[Tensor | None] = [*prior.split(z)]
    for block in prior.order[count:]:
        blocks[block] = None
    return blocks


def title(prior: Chain, count: int) -> str:
    """Which layers are fixed."""
    return ", ".join(f"z_{block + 1}" for block in prior.order[:count]) + " fixed"


def remaining_variance(vae: VAE, prior: Chain, num_samples: int, rows: int) -> list[float]:
    """The share of the variance that remains with 1, 2, … layers fixed."""
    z = prior.sample((num_samples,))
    first = decoded(vae.p, z, rows)
    squares = []
    for count in range(len(prior.sizes)):
        second = decoded(vae.p, prior.redraw(fixed(prior, z, count), (num_samples,)), rows)
        squares.append(float((first - second).square().sum()))
    return [square / max(squares[0], 1e-30) for square in squares[1:]]

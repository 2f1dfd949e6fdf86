"""The interface of tasks."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Self

import torch
from matplotlib.figure import Figure
from PIL.Image import Image
from torch import Tensor
from torch.distributions import Distribution

from aevb.data.module import InMemoryDataModule, Split
from aevb.distributions.moments import closed_moment
from aevb.types import Checked
from aevb.vae import VAE

DRAWS_FOR_MEAN = 100
"""Draws that estimate the mean of a posterior without a closed form, such as a flow."""


class TaskResult(NamedTuple):
    """The outcome of a task."""

    results: dict[str, Any]
    """Numbers and lists by name, for evaluation.json."""
    words: list[str]
    """The results in sentences."""
    pictures: Mapping[str, Image | Figure] = MappingProxyType({})
    pages: Mapping[str, str] = MappingProxyType({})
    """HTML."""
    animations: Mapping[str, Sequence[Image]] = MappingProxyType({})
    """Frames, for a GIF each."""
    archives: Mapping[str, bytes] = MappingProxyType({})
    """Compressed datapoints."""
    midi: Mapping[str, bytes] = MappingProxyType({})
    """Music."""
    model: VAE | None = None
    """A new model, for a run folder of its own."""


@dataclass(frozen=True)
class Task(Checked, ABC):
    """A post-training analysis; its fields are its settings."""

    name: ClassVar[str]

    takes_condition: ClassVar[bool] = False
    """Whether the task is for models that take conditions, too."""

    train_limit: ClassVar[int | None] = 1
    """Maximum number of training datapoints that the task needs; None: all."""

    @property
    def settings(self) -> dict[str, Any]:
        """The settings by name, as JSON values."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: v if isinstance(v, int | float | str) else repr(v) for name, v in values.items()}

    def of(self, data: InMemoryDataModule) -> Self:
        """The task for a data set, of which it may use more than datapoints."""
        return self

    @abstractmethod
    def run(self, vae: VAE, data: Split, train: Split, rows: int) -> TaskResult:
        """Analyse a model.

        Args:
            vae: The model.
            data: The datapoints to analyse, x (N, *data_shape) as float32, with labels and conditions if there are any.
            train: Training datapoints of the same form.
            rows: Maximum number of samples of z that are decoded at once.

        Raises:
            ValueError: the task is not possible with the data or the model.
        """


def num_classes(vae: VAE, task: Task) -> int:
    """The number of classes of a model whose conditions are one-hot labels."""
    shape = vae.condition_shape
    if shape is None or len(shape) != 1 or shape[0] < 2:
        raise ValueError(f"task={task.name} needs a model given labels, such as model=conditional, this one is not")
    return shape[0]


def posterior_mean(posterior: Distribution) -> Tensor:
    """E_q[z|x], (B, latent_dim); estimated from draws where it has no closed form."""
    mean = closed_moment(posterior, "mean")
    return posterior.sample(torch.Size((DRAWS_FOR_MEAN,))).mean(0) if mean is None else mean


@torch.no_grad()
def encoded_means(vae: VAE, data: Split, batch: int = 1000) -> Tensor:
    """E_q[z|x] of datapoints, (N, latent_dim); of a conditional model E_q[z|x, c]."""
    return torch.cat([posterior_mean(vae.encode(x, c)) for x, _, c in data.chunks(batch)])


def principal_axes(means: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Origin, at most `most` directions (A, D) of the means (N, D), and the share of the variance along them.

    The directions are the dimensions themselves, from zero, where D is at most 2.
    """
    if means.shape[1] <= 2:
        return torch.zeros_like(means[0]), torch.eye(means.shape[1]).to(means), torch.ones(())
    centre = means.mean(0)
    _, scales, directions = torch.linalg.svd(means - centre, full_matrices=False)
    count = min(most, len(scales))
    variance = scales**2
    return centre, directions[:count], variance[:count].sum() / variance.sum().clamp(min=1e-30)

"""The latent variables of a trained run as a data set."""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributions import Normal

from aevb.data import InMemoryDataModule, Split, Splits
from aevb.distributions.kl import factorized
from aevb.errors import ConfigError
from aevb.runs.data import load_stored_data
from aevb.runs.folder import RunFolder
from aevb.runs.load import load_members
from aevb.runs.stored import relocate
from aevb.tasks.base import encoded_means
from aevb.tasks.latents import ACTIVE, variance_of_means
from aevb.vae import VAE


class Encoded(InMemoryDataModule):
    """z ~ q(z|x) of a trained run's model, with the labels of its data, in the splits of that run.

    Latent variables that are not active, see `aevb.tasks.Latents`, are left out: they say nothing about x. z of the
    training set are drawn anew for each epoch; of validation and test they are the means of q(z|x). A model of these z,
    such as `model=semi_supervised`, is the second layer of a stack: M1+M2.

    Source: Kingma, Rezende, Mohamed & Welling (2014), section 2.1.

    Args:
        run: The run folder.
        checkpoint: Its weights: `best` or `last`.
        draws: Whether to draw; False: means of the training set, too, and each dimension is standardized by the
            training set's mean and standard deviation.
        root: Where the data of that run are now; None: as the run says.
        kwargs: See `InMemoryDataModule`.
    """

    def __init__(
        self,
        run: str | Path,
        checkpoint: Literal["best", "last"] = "best",
        root: str | None = None,
        draws: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.run = run
        self.checkpoint = checkpoint
        self.root = root
        self.draws = draws

    def load(self) -> Splits:
        """Encode the data of the run."""
        folder = RunFolder(self.run)
        (vae,), state = load_members(folder, self.checkpoint, (), member=0)
        if vae.condition_shape is not None:
            raise ConfigError(f"data.run: the model of {self.run} takes a condition; encode with one that takes none")
        stored = folder.config()
        relocate(stored, str(folder.path), self.root)
        data = load_stored_data(stored)
        data.require_same(state)
        sizes = {name: len(split.x) for name, split in data.splits._asdict().items()}
        examples = {name: data.examples(name, size) for name, size in sizes.items()}
        active = (variance_of_means(vae, examples["train"]) > ACTIVE).cpu()
        if not active.any():
            raise ConfigError(f"data.run: no latent variable of {self.run} is active, its posterior has collapsed")
        splits = Splits(*(encoded(vae, part, active) for part in examples.values()))
        if self.draws:
            self.noise = standard_deviations(vae, examples["train"])[..., active]
            return splits
        std, mean = torch.std_mean(splits.train.x, 0)
        return Splits(*(split._replace(x=(split.x - mean) / std) for split in splits))


def encoded(vae: VAE, data: Split, active: Tensor) -> Split:
    """The means of q(z|x), (N, 1, 1, active latent variables), with the labels."""
    return Split(encoded_means(vae, data)[:, None, None, active], data.y)


@torch.no_grad()
def standard_deviations(vae: VAE, data: Split) -> Tensor:
    """Of q(z|x), (N, 1, 1, latent_dim).

    Raises:
        ConfigError: q(z|x) is no Gaussian of independent dimensions.
    """
    posteriors = [factorized(vae.encode(x)) for x, _, _ in data.chunks(1000)]
    scales = [posterior.scale for posterior in posteriors if isinstance(posterior, Normal)]
    if len(scales) < len(posteriors):
        raise ConfigError("data.draws must be false: q(z|x) of the run is no Gaussian of independent dimensions")
    return torch.cat(scales)[:, None, None]

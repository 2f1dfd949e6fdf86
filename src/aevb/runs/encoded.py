"""The latent variables of a trained run as a data set."""

from pathlib import Path
from typing import Any, Literal

import torch

from aevb.data import InMemoryDataModule, Split, Splits
from aevb.errors import ConfigError
from aevb.runs.data import load_stored_data
from aevb.runs.folder import RunFolder
from aevb.runs.load import load_trained
from aevb.runs.stored import relocate
from aevb.tasks.base import encoded_means
from aevb.vae import VAE


class Encoded(InMemoryDataModule):
    """The means of q(z|x) of a trained run's model, with the labels of its data, in the splits of that run.

    Each dimension is standardized by the training set's mean and standard deviation. A model of these z, such as
    `model=semi_supervised`, is the second layer of a stack: M1+M2.

    Source: Kingma, Rezende, Mohamed & Welling (2014), section 2.1.

    Args:
        run: The run folder.
        checkpoint: Its weights: `best` or `last`.
        root: Where the data of that run are now; None: as the run says.
        kwargs: See `InMemoryDataModule`.
    """

    def __init__(
        self,
        run: str | Path,
        checkpoint: Literal["best", "last"] = "best",
        root: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.run = run
        self.checkpoint = checkpoint
        self.root = root

    def load(self) -> Splits:
        """Encode the data of the run."""
        folder = RunFolder(self.run)
        vae, state = load_trained(folder, self.checkpoint, ())
        if vae.condition_shape is not None:
            raise ConfigError(f"data.run: the model of {self.run} takes a condition; encode with one that takes none")
        stored = folder.config()
        relocate(stored, str(folder.path), self.root)
        data = load_stored_data(stored)
        data.require_same(state)
        sizes = {name: len(split.x) for name, split in data.splits._asdict().items()}
        splits = Splits(*(encoded(vae, data.examples(name, size)) for name, size in sizes.items()))
        std, mean = torch.std_mean(splits.train.x, 0)
        return Splits(*(split._replace(x=(split.x - mean) / std.clamp(min=1e-6)) for split in splits))


def encoded(vae: VAE, data: Split) -> Split:
    """The means of q(z|x), (N, 1, 1, latent_dim), with the labels."""
    return Split(encoded_means(vae, data)[:, None, None], data.y)

"""Pictures of samples, reconstructions and the latent space during training."""

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure
from PIL.Image import Image
from torch import Tensor

from aevb import plots
from aevb.data import CSV, Split
from aevb.distributions.chain import Chain
from aevb.distributions.sequence import Steps
from aevb.estimators.runner import rows_at_once
from aevb.networks import condition_shape_of, evaluation_mode
from aevb.tasks.base import encoded_means
from aevb.tasks.projection import plane_of_means, scatter_of_means
from aevb.training.callbacks.periodic import Every, Periodic
from aevb.training.examples import NAMES, examples, splits
from aevb.training.loggers.guarded import GuardedLogger, log_image
from aevb.training.module import AEVB
from aevb.training.noise import seed_noise
from aevb.types import Count, Size
from aevb.vae import VAE


class Images(Periodic):
    """Writes pictures to `<folder>/<samples>_<what>.png`, and logs them to loggers that take pictures.

    `samples` and `samples_drawn` show means of p(x|z), and draws, for z from the prior. `reconstructions` shows
    always the same test images above their reconstructions (validation images without a data module of `aevb`).
    `latents` shows the means of q(z|x), by two principal components where z has more dimensions, coloured by label
    where labels exist. `manifold` shows the means of p(x|z) over the same plane, for two latents on the grid of
    figure 4 of the paper, unless the model takes a condition, z is constrained, or it has several layers or steps. The
    samples of a conditional model have a row for each condition where there are few, such as labels, and a column for
    each z; otherwise they have the conditions of fixed datapoints.

    Of a table (`aevb.data.CSV`), draws from the model are written in the units of its columns, too:
    `<folder>/<samples>_samples.csv`.

    Args:
        folder: Folder of the pictures.
        every_samples: Training samples between two sets of pictures, rounded up to whole blocks of minibatches; the
            last set is drawn at the end.
        num_samples: Number of samples in a picture.
        num_reconstructions: Number of reconstructed images.
        manifold_size: Images along each side of the manifold.
    """

    def __init__(
        self,
        folder: str | Path,
        every_samples: Count = 250_000,
        num_samples: Size = 100,
        num_reconstructions: Size = 30,
        manifold_size: Size = 20,
    ) -> None:
        super().__init__(Every(every_samples))
        self.folder = Path(folder)
        self.num_samples = num_samples
        self.num_reconstructions = num_reconstructions
        self.manifold_size = manifold_size

    def on_train_end(self, trainer: pl.Trainer, module: Any) -> None:
        self.act_now(trainer, module)

    @torch.no_grad()
    def act(self, trainer: pl.Trainer, module: AEVB) -> None:
        module.readings.settle()
        if not trainer.is_global_zero:
            return
        self.folder.mkdir(exist_ok=True)
        seed_noise(module.seed, "images")
        with module.averaged.in_place(), evaluation_mode(module):
            for what, picture in self.pictures(trainer, module):
                path = self.folder / f"{module.samples_seen:09d}_{what}.png"
                plots.save(picture, path)
                for logger in trainer.loggers:
                    log = logger.log_image if isinstance(logger, GuardedLogger) else partial(log_image, logger)
                    log(f"images/{what}", path, module.samples_seen)
            data = getattr(trainer, "datamodule", None)
            if isinstance(data, CSV):
                c = data.examples("train", self.num_samples).c
                drawn = module.vae.sample(self.num_samples if c is None else len(c), mean=False, c=c)
                data.write(drawn, self.folder / f"{module.samples_seen:09d}_samples.csv")

    def pictures(self, trainer: pl.Trainer, module: AEVB) -> Iterator[tuple[str, Image | Figure]]:
        """Pictures with their names."""
        vae, split, after = module.vae, splits(trainer)[-1], age(module)
        data = examples(trainer, module, split, self.num_reconstructions)
        shape, limits, at_once = vae.p.data_shape, plots.limits(data.x), rows_at_once(vae.p)
        titles, columns, z, c = self.samples(trainer, module)
        given = "" if c is None else ", c"
        of = "" if condition_shape_of(vae.p.prior) is None else "|c"
        for what, title in (
            ("samples", f"means of p(x|z{given}), z ~ p(z{of})"),
            ("samples_drawn", f"draws x ~ p(x|z{given}), z ~ p(z{of})"),
        ):
            rows = list(zip(titles, decoded(vae, z, at_once, c, what == "samples").split(columns), strict=True))
            yield what, plots.show(rows, shape, f"{title}, {after}", *limits)
        reconstructions = torch.cat([plots.reduced(vae.reconstruct(x, c)) for x, _, c in data.chunks(at_once)])
        pairs = plots.paired(("data", "reconstruction"), plots.reduced(data.x), reconstructions)
        caption = f"{NAMES[split]} and means of p(x|z), z ~ q(z|x), {after}"
        yield "reconstructions", plots.show(pairs, shape, caption, *limits)
        if vae.p.latent_dim > 1 and (c is None or vae.needs_condition):  # of padding there are no means
            yield from self.latent_pictures(trainer, module, limits, at_once)

    def latent_pictures(
        self, trainer: pl.Trainer, module: AEVB, limits: tuple[float, float], at_once: int
    ) -> Iterator[tuple[str, Image | Figure]]:
        """The means of q(z|x) of datapoints, and what is decoded over their plane."""
        vae, split, after = module.vae, splits(trainer)[-1], age(module)
        data = examples(trainer, module, split, 5000)
        means, is_given = encoded_means(vae, data), data.c is not None
        is_plain = vae.p.prior.support == "real" and not is_given and not isinstance(vae.p.prior(), Chain | Steps)
        plane = plane_of_means(means, self.manifold_size) if is_plain else None
        if plane is not None:
            points, over = plane
            names = ("$z_1$", "$z_2$") if vae.p.latent_dim == 2 else ("component 1", "component 2")
            caption = f"means of p(x|z) over {over}, {after}"
            images = decoded(vae, points, at_once)
            yield "manifold", plots.manifold(images, vae.p.data_shape, caption, *limits, names)
        what = "means of q(z|x, c)" if is_given else "means of q(z|x)"
        yield "latents", scatter_of_means(means, data.classes, what, f"{NAMES[split]}, {after}")

    def samples(self, trainer: pl.Trainer, module: AEVB) -> tuple[list[str], int, Tensor, Tensor | None]:
        """Titles of rows, the length of a row, draws z ~ p(z), (N, latent_dim), and their conditions, if any."""
        vae, columns = module.vae, math.ceil(self.num_samples**0.5)
        c = None if vae.condition_shape is None else examples(trainer, module, splits(trainer)[-1], 5000).c
        if c is None:
            z = vae.p.sample_prior(1, self.num_samples)[0]
            return [""] * math.ceil(len(z) / columns), columns, z, None
        kinds = c.unique(dim=0).flip(0)  # labels, as one-hot vectors, from 0 on
        if len(kinds) > plots.MAX_CLASSES:
            c = c[: self.num_samples]
            z = vae.given(c, len(c)).p.sample_prior(1, len(c))[0]
            return [""] * math.ceil(len(z) / columns), columns, z, c
        columns = max(1, self.num_samples // len(kinds))
        c = kinds.repeat_interleave(columns, 0)
        z = vae.given(c, len(c)).p.sample_prior(1, len(c))[0]
        if condition_shape_of(vae.p.prior) is None:
            z = z[:columns].repeat(len(kinds), 1)
        return [title(kind) for kind in kinds], columns, z, c


def decoded(vae: VAE, z: Tensor, at_once: int, c: Tensor | None = None, mean: bool = True) -> Tensor:
    """Means of p(x|z), or draws, at the resolution of a picture: z (N, latent_dim)."""
    likelihoods = (vae.decode(part.x[None], part.c) for part in Split(z, c=c).chunks(at_once))
    return torch.cat([plots.reduced((p.mean if mean else p.sample())[0]) for p in likelihoods])


def age(module: AEVB) -> str:
    """How far training is, for a caption."""
    return f"after {module.samples_seen:,} training samples"


def title(c: Tensor) -> str:
    """A condition in a word: the label of a one-hot vector, else its values."""
    if c.ndim == 1 and len(c) > 1 and c.sum() == c.max() == 1:
        return str(int(c.argmax()))
    return ", ".join(f"{value:.3g}" for value in c.flatten()[:3].tolist())

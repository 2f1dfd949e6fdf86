"""Pictures of what the model has learned."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from aevb import plots
from aevb.checks import whole_number
from aevb.training.loggers import GuardedLogger
from aevb.training.module import AEVB, seed_noise


class Images(pl.Callback):
    """Writes pictures to `<folder>/<samples>_<what>.png` and gives them to every logger that takes pictures.

    `samples` and `samples_drawn` come from the prior: the mean of p(x|z), and a draw. `reconstructions` are test images
    (the same each time) above their reconstructions. Where z has two dimensions, `manifold` shows the means of p(x|z)
    over the grid of figure 4 of the paper, and `latents` the means of q(z|x), coloured by label where labels exist.

    Args:
        folder: Where the pictures go.
        every_samples: Training samples between two sets of pictures; rounded up to whole blocks of minibatches. The
            last set is made at the end.
        num_samples: Samples in a picture.
        num_reconstructions: Test images that are reconstructed.
        manifold_size: Images along each side of the manifold.

    Raises:
        ValueError: one of the numbers is not a positive whole number.
    """

    def __init__(
        self,
        folder: str | Path,
        every_samples: int = 250_000,
        num_samples: int = 100,
        num_reconstructions: int = 30,
        manifold_size: int = 20,
    ) -> None:
        self.folder = Path(folder)
        self.every_samples = whole_number(every_samples, "callbacks.images.every_samples")
        self.num_samples = whole_number(num_samples, "callbacks.images.num_samples")
        self.num_reconstructions = whole_number(num_reconstructions, "callbacks.images.num_reconstructions")
        self.manifold_size = whole_number(manifold_size, "callbacks.images.manifold_size")
        self.drawn_samples = 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(module, AEVB)
        if module.samples_seen // self.every_samples > self.drawn_samples // self.every_samples:
            self.draw(trainer, module)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, AEVB)
        if module.samples_seen > self.drawn_samples:
            self.draw(trainer, module)

    @torch.no_grad()
    def draw(self, trainer: pl.Trainer, module: AEVB) -> None:
        """Make all pictures now."""
        if not trainer.is_global_zero:
            return
        self.folder.mkdir(exist_ok=True)
        seed_noise(module.seed, "images")
        for what, picture in self.pictures(trainer, module):
            path = self.folder / f"{module.samples_seen:09d}_{what}.png"
            if isinstance(picture, Tensor):
                plots.save_picture(picture, path)
            else:
                plots.save_figure(picture, path)
            for logger in trainer.loggers:
                if isinstance(logger, GuardedLogger):
                    logger.log_image(f"images/{what}", path, module.samples_seen)
        self.drawn_samples = module.samples_seen

    def pictures(self, trainer: pl.Trainer, module: AEVB) -> Iterator[tuple[str, Any]]:
        """Names and pictures, the latter as tensors (3, H, W) or figures."""
        vae = module.vae
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        x, _ = data.examples("test", self.num_reconstructions)
        low, high = min(0.0, float(x.min())), max(1.0, float(x.max()))
        columns = round(self.num_samples**0.5)

        def as_grid(images: Tensor, columns: int = columns, padding: int = 1) -> Tensor:
            return plots.grid(plots.as_pictures(images, low, high), columns, padding)

        likelihood = vae.decode(vae.p.prior().sample(torch.Size((1, self.num_samples))))
        yield "samples", as_grid(likelihood.mean[0])
        yield "samples_drawn", as_grid(likelihood.sample()[0])
        originals, reconstructions = (plots.as_pictures(t, low, high) for t in (x, vae.reconstruct(x)))
        yield "reconstructions", plots.reconstruction_grid(originals, reconstructions)
        if vae.p.latent_dim == 2:
            z = plots.manifold_points(self.manifold_size).to(module.device)
            yield "manifold", as_grid(vae.decode(z[None]).mean[0], self.manifold_size, padding=0)
            x, y = data.examples("test", 5000)
            yield "latents", plots.latent_scatter(vae.encode(x).mean, y)

    def state_dict(self) -> dict[str, Any]:
        return {"drawn_samples": self.drawn_samples}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.drawn_samples = state_dict["drawn_samples"]

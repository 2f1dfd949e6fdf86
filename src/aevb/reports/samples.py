"""Figures 4 and 5 of the paper: learned manifolds and random samples, from checkpoints."""

from collections.abc import Callable, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from aevb import plots
from aevb.distributions.support import require_real
from aevb.errors import ConfigError
from aevb.reports.figures import DATA, Item, grouped
from aevb.reports.reading import Run, Skipped
from aevb.reports.table import Row
from aevb.runs.load import load_run
from aevb.training.noise import seed_noise
from aevb.vae import VAE


def manifolds(runs: Sequence[Run], allow: Sequence[str] = (), size: int = 20) -> tuple[Item | None, list[Skipped]]:
    """Figure 4: a panel for each data set with a model of two latents."""

    def manifold(vae: VAE) -> Tensor:
        require_real(vae.p.prior.support, "figure 4", "another prior")
        return tiled(vae.decode(plots.manifold_points(size)[None]).mean[0], size)

    item = Item(
        "figure4",
        "Figure 4: learned manifolds",
        "Means of p(x|z), z being the unit square mapped through the inverse CDF of the Gaussian: figure 4 of Kingma &"
        " Welling (2013).",
    )
    return pictures([run for run in runs if run.latent_dim == 2], manifold, allow, item, panel_width=4.5)


def prior_samples(
    runs: Sequence[Run], allow: Sequence[str] = (), count: int = 100
) -> tuple[Item | None, list[Skipped]]:
    """Figure 5: a row for each data set, a panel for each N_z."""

    def samples(vae: VAE) -> Tensor:
        return tiled(vae.sample(count), round(count**0.5))

    item = Item(
        "figure5",
        "Figure 5: random samples",
        "Means of p(x|z) for z drawn from the prior: figure 5 of Kingma & Welling (2013).",
    )
    return pictures(runs, samples, allow, item, panel_width=3.2)


def tiled(means: Tensor, columns: int) -> Tensor:
    """Means of p(x|z) (N, C, H, W), or of sequences, as one picture (3, H', W')."""
    means = plots.laid_out(means)
    return plots.grid(plots.as_pictures(means, *plots.limits(means)), columns)


def pictures(
    runs: Sequence[Run],
    draw: Callable[[VAE], Tensor],
    allow: Sequence[str],
    item: Item,
    panel_width: float,
) -> tuple[Item | None, list[Skipped]]:
    """Fill `item` with a grid of pictures: a row for each data set of images, a panel for each N_z.

    Args:
        runs: Each panel shows one of them, see `representatives`.
        draw: The model → a picture (3, H, W).
        allow: The user's own modules whose classes may be instantiated.
        item: Changed in place: its figure and rows are set.
        panel_width: In inches.

    Returns:
        The item, or None if there is no picture, and the runs without one, with the reason.
    """
    drawn: dict[str, list[tuple[Run, Tensor]]] = {}
    skipped = []
    for run in representatives(runs):
        try:
            picture = picture_of(run, draw, allow)
        except ConfigError as error:
            skipped.append(Skipped(run.name, f"{item.name}: {str(error).removeprefix(f'{run.name} ')}"))
            continue
        if picture is not None:
            drawn.setdefault(run.data, []).append((run, picture))
    if not drawn:
        return None, skipped
    columns = max(map(len, drawn.values()))
    figure = Figure(figsize=(panel_width * columns, (panel_width + 0.2) * len(drawn)), dpi=150, layout="constrained")
    grid = figure.subplots(len(drawn), columns, squeeze=False)
    for line, (data, panels) in zip(grid, drawn.items(), strict=True):
        for axes in line:
            axes.set_axis_off()
        for axes, (run, picture) in zip(line, panels, strict=False):
            axes.imshow(picture.permute(1, 2, 0).numpy())
            axes.set_title(f"{DATA.get(data, data)}, $N_z$ = {run.latent_dim}", fontsize="medium")
            row: Row = {"data": data, "latent_dim": run.latent_dim, "samples": run.samples, "run": run.name}
            item.rows.append(row)
    item.figure = figure
    return item, skipped


@torch.no_grad()
def picture_of(run: Run, draw: Callable[[VAE], Tensor], allow: Sequence[str]) -> Tensor | None:
    """The picture of a run's model (3, H, W); None where its data are no images.

    Raises:
        ConfigError: the model cannot be loaded, or drawn.
    """
    vae = load_run(run.folder.path, "best" if run.folder.best_checkpoint.is_file() else "last", allow)
    if not plots.is_image(vae.p.data_shape):
        return None
    if vae.needs_condition:
        raise ConfigError("its model takes a condition")
    seed_noise("report")
    return draw(vae)


def representatives(runs: Sequence[Run]) -> list[Run]:
    """For each data set and N_z, the longest run with a checkpoint, one trained by AEVB if there is one."""
    with_model = [run for run in runs if run.folder.best_checkpoint.is_file() or run.folder.last_checkpoint.is_file()]
    groups = grouped(with_model, lambda run: (run.data, run.latent_dim))
    return [
        max(group, key=lambda run: (run.objective == "SGVB", run.samples, -run.seed))
        for _, group in sorted(groups.items())
    ]

"""Run folders that are made from another run's, with a part of the model exchanged."""

import io
from collections.abc import Sequence
from typing import Any

import torch
from omegaconf import DictConfig

from aevb.errors import ConfigError
from aevb.files import atomic_write
from aevb.runs.folder import RunFolder
from aevb.runs.status import now
from aevb.runs.stored import escaped
from aevb.vae import VAE

ENDED_BY = "fit_prior"
"""In status.json; such a run has no state of an optimizer, and is not trained further."""


def write_derived(
    run: RunFolder,
    name: str,
    prior: DictConfig,
    members: Sequence[VAE],
    checkpoint: dict[str, Any],
    results: dict[str, float],
    member: int | None = None,
) -> RunFolder:
    """Write `fit_prior/<name>` in a run's folder: the run's configuration with another prior, and the new weights.

    An earlier one of the same name is replaced, and its estimates are removed.

    Args:
        run: The run that was trained.
        name: Of the new folder.
        prior: Configuration of the new prior, without interpolations.
        members: The new models, of each seed.
        checkpoint: What else the checkpoint holds: the samples, and the fingerprint of the data.
        results: Metrics of the new models.
        member: The new run is of this member alone; None: of all.
    """
    config, folder = run.config(), RunFolder(run.path / "fit_prior" / name)
    config.model.prior = escaped(prior)
    if member is not None:
        config.seeds, config.seed = None, (config.get("seed") or 0) + member
    folder.begin(config, run.command(), run.status().get("id", "unknown"))
    (folder.path / "evaluation.json").unlink(missing_ok=True)
    weights: dict[str, Any] = {}
    for number, vae in enumerate(members):
        prefix = "vae." if number == 0 else f"others.{number - 1}.vae."
        weights |= {f"{prefix}{key}": weight.cpu() for key, weight in vae.state_dict().items()}
    buffer = io.BytesIO()
    torch.save({**checkpoint, "state_dict": weights}, buffer)
    folder.best_checkpoint.parent.mkdir(exist_ok=True)
    atomic_write(folder.best_checkpoint, buffer.getvalue())
    folder.write_status(
        state="finished", samples=checkpoint["samples"], ended=now(), ended_by=ENDED_BY, results=results
    )
    return folder


def require_trainable(folder: RunFolder, status: dict[str, Any]) -> None:
    """Raise a `ConfigError` where a run was not trained, but made from another."""
    if status.get("ended_by") == ENDED_BY:
        raise ConfigError(f"resume: {folder.path} was made by task=fit_prior, and cannot be trained further")

"""What Lightning's `hparams` holds of a module."""

from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer

from aevb.objectives import Objective
from aevb.vae import VAE


def hparams_of(
    vae: VAE, objective: Objective, make_optimizer: Callable[..., Optimizer], **settings: Any
) -> dict[str, Any]:
    """The parts by their classes, their sizes, and the plain settings."""
    p, q = vae.p, vae.q
    parts = {
        "likelihood": p.head,
        "decoder": p.decoder,
        "prior": p.prior,
        "posterior": q.head,
        "encoder": q.encoder,
    }
    given = getattr(make_optimizer, "keywords", {})
    return {
        "latent_dim": p.latent_dim,
        "data_shape": list(p.data_shape),
        **{name: type(part).__name__ for name, part in parts.items()},
        "objective": type(objective).__name__,
        "optimizer": getattr(getattr(make_optimizer, "func", make_optimizer), "__name__", "other"),
        **{f"optimizer_{key}": value for key, value in given.items() if isinstance(value, bool | int | float)},
        **settings,
    }

"""Models whose latent variables are known, and tasks run on them."""

import math

import torch
from torch import Tensor

from aevb.data.module import Split
from aevb.tasks import Task
from aevb.tasks.base import TaskResult
from aevb.vae import VAE

from ..ppca import make_ppca

ROWS = 1000


def collapsed_model(active: int, latent_dim: int = 4, spread: float = 1.0, std: float = 0.2) -> VAE:
    """q(z|x) = N(spread x_u, std²) for the first `active` dimensions u, and N(0, 1) for the others."""
    ppca = make_ppca(latent_dim=latent_dim, data_dim=5)
    head = ppca.q.head.layer
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
        head.weight[:active, :active] = spread * torch.eye(active)
        head.bias[latent_dim : latent_dim + active] = 2 * math.log(std)
    return VAE.join(ppca.p, ppca.q)


def normal_data(count: int) -> Tensor:
    return torch.randn(count, 1, 1, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def run(task: Task, model: VAE, x: Tensor, y: Tensor | None = None, train: Split | None = None) -> TaskResult:
    torch.manual_seed(0)
    return task.run(model, Split(x, y), train or Split(x, y), ROWS)

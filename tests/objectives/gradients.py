"""Draws of an objective's gradient against the exact one, and training by full batches."""

import math

import torch
from torch import Tensor, nn

from aevb.objectives import Objective

from ..ppca import PPCA

COPIES = 50
"""Draws in one call: the data are repeated so often."""


def exact_gradient(value: Tensor, weights: list[nn.Parameter]) -> Tensor:
    gradients = torch.autograd.grad(value, weights, allow_unused=True)
    parts = [torch.zeros_like(w) if g is None else g for w, g in zip(weights, gradients, strict=True)]
    return torch.cat([part.flatten() for part in parts])


def gradient_draws(
    objective: Objective, model: PPCA, weights: list[nn.Parameter], calls: int, copies: int = COPIES
) -> Tensor:
    """Gradients of the loss, (calls, number of weights), each a mean over `copies` draws."""
    torch.manual_seed(0)
    x = model.x.repeat(copies, 1, 1, 1)
    return torch.stack([exact_gradient(objective(model.p, model.q, x).loss, weights) for _ in range(calls)])


def standard_errors_off(draws: Tensor, exact: Tensor) -> float:
    """The largest deviation of the mean from `exact`, in standard errors."""
    error = draws.std(0) / math.sqrt(len(draws))
    return float(((draws.mean(0) - exact).abs() / (error + 1e-12)).max())


def assert_unbiased(draws: Tensor, exact: Tensor, precision: float = 0.05) -> None:
    """The mean is within 4.5 standard errors of `exact`, and the standard errors are small."""
    error = draws.std(0) / math.sqrt(len(draws))
    assert error.max() < precision * exact.abs().max(), "too few draws for a test that means something"
    assert standard_errors_off(draws, exact) < 4.5


def theta(model: PPCA) -> list[nn.Parameter]:
    return list(model.p.parameters())


def phi(model: PPCA) -> list[nn.Parameter]:
    return list(model.q.parameters())


def train(model: PPCA, objective: Objective, steps: int, lr: float = 0.05) -> None:
    """Full-batch training whose step size falls to zero."""
    objective.num_data = len(model.x)
    objective.connect(model.p, model.q)
    objective.double()
    parameters = [*model.p.parameters(), *model.q.parameters(), *objective.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        for estimate in objective.estimates(model.p, model.q, model.x):
            optimizer.zero_grad()
            estimate.loss.backward()
            optimizer.step()
        schedule.step()

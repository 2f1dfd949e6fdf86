"""The form of an optimizer that suits the device."""

import logging
from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.optim import Optimizer

log = logging.getLogger("aevb")


def fitting_form(
    make_optimizer: Callable[..., Optimizer], device: torch.device, scales_gradients: bool
) -> Callable[..., Optimizer]:
    """The optimizer to make, unfused where it cannot be fused.

    Args:
        make_optimizer: Called with the parameters.
        device: Of the parameters.
        scales_gradients: Whether gradients are scaled when they are clipped, as under 16-mixed.
    """
    reason = None
    if not runs_on(make_optimizer, device):
        reason = f"it has no fused form on {device}"
    elif scales_gradients and is_fused(make_optimizer):
        reason = "its fused form takes the scale out of the gradients only after they are clipped"
    if reason is None:
        return make_optimizer
    log.info("the optimizer runs unfused: %s", reason)
    return partial(make_optimizer, fused=None)  # on a GPU, one kernel for many parameters


def is_fused(make_optimizer: Callable[..., Optimizer]) -> bool:
    """Whether an optimizer asks to be fused."""
    return bool(getattr(make_optimizer, "keywords", {}).get("fused"))


def runs_on(make_optimizer: Callable[..., Optimizer], device: torch.device) -> bool:
    """Whether an optimizer that asks to be fused has the kernels for it on a device, by a trial step."""
    if not is_fused(make_optimizer):
        return True
    parameter = nn.Parameter(torch.zeros(1, device=device))
    parameter.grad = torch.zeros_like(parameter)
    try:
        make_optimizer([parameter]).step()
    except (NotImplementedError, RuntimeError):
        return False
    return True

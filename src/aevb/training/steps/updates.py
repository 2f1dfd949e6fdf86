"""Forms of an optimizer whose update is a part of a graph or a program: its learning rates are tensors."""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adagrad, Optimizer
from torch.overrides import TorchFunctionMode

ALONE = 2048
"""Numbers of a parameter that is updated alone: a kernel for all takes longer than two kernels for a larger one."""


def unfused(optimizer: Optimizer, learning_rates: list[Tensor]) -> Optimizer:
    """The optimizer in a form that a compiler fuses.

    On a GPU, its operations are for all parameters at once, which become one kernel and not one for each parameter.
    """
    together = learning_rates[0].device.type == "cuda"
    settings = {"fused": False, "foreach": together} | ({"capturable": True} if together else {})
    return with_tensor_rates(optimizer, learning_rates, settings, alone=math.inf)


def with_tensor_rates(
    optimizer: Optimizer, learning_rates: list[Tensor], settings: dict[str, bool], alone: float = ALONE
) -> Optimizer:
    """The optimizer with the same parameters and state, other settings where it has them, and tensor learning rates.

    Its step never asks a tensor for its value.

    Args:
        optimizer: Whose parameters and state it shares.
        learning_rates: Of each group of parameters.
        settings: Of the groups that have them.
        alone: The size from which on a parameter has operations of its own, where that is a choice.
    """
    copied = copy.copy(optimizer)
    copied._optimizer_step_post_hooks = optimizer._optimizer_step_post_hooks  # of averages of the weights
    copied.param_groups = [
        group | {name: value for name, value in settings.items() if name in group} | {"lr": rate}
        for group, rate in zip(optimizer.param_groups, learning_rates, strict=True)
    ]
    take_step: Callable[[], Any] = copied.step
    if is_plain_adagrad(copied):
        take_step = AdagradStep(copied, alone)

    def step_as_compiled() -> None:
        with as_compiled(), TensorFactors():
            take_step()

    copied.step = step_as_compiled  # type: ignore[method-assign, assignment]
    return copied


@contextmanager
def as_compiled() -> Iterator[None]:
    """Make torch's optimizers keep the number of the step in its tensor, as under torch.compile."""
    before = torch.compiler._is_compiling_flag
    torch.compiler._is_compiling_flag = True
    try:
        yield
    finally:
        torch.compiler._is_compiling_flag = before


class TensorFactors(TorchFunctionMode):
    """Accepts tensors as factors of operations that take only numbers, as torch.compile does."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.addcdiv_ and isinstance(kwargs.get("value"), Tensor):
            target, numerator, denominator = args
            return target.add_(kwargs["value"] * numerator / denominator)
        if func is Tensor.add_ and isinstance(kwargs.get("alpha"), Tensor):
            target, other = args
            return target.add_(kwargs["alpha"] * other)
        return func(*args, **kwargs)


def is_plain_adagrad(optimizer: Optimizer) -> bool:
    """Whether an optimizer is an Adagrad that `AdagradStep` can replace."""
    return type(optimizer) is Adagrad and all(
        not group["fused"]
        and group["foreach"] is not False
        and not (group["lr_decay"] or group["weight_decay"] or group["maximize"])
        for group in optimizer.param_groups
    )


class AdagradStep:
    """The step of Adagrad with the bits of torch's: small parameters together, and large ones each alone.

    torch divides a learning rate that is a tensor by a factor for each parameter, in four kernels, although the factor
    is 1 without decay of the learning rate. And it updates all parameters by kernels in which a block of threads has
    65,536 numbers to do: those are a few blocks for the weights of the paper's model, and took 200 of the 450 µs of a
    step on an H100.

    Args:
        optimizer: An Adagrad without decays.
        alone: Numbers of a parameter that is large.
    """

    def __init__(self, optimizer: Optimizer, alone: float) -> None:
        self.optimizer: Any = optimizer
        self.alone = alone

    @torch.no_grad()
    def __call__(self) -> None:
        for group in self.optimizer.param_groups:
            lists: tuple[list[Tensor], ...] = ([], [], [], [])
            self.optimizer._init_group(group, *lists)
            *lists_of_numbers, steps = lists
            if not steps:
                continue
            torch._foreach_add_(steps, 1)
            minus_rate = -group["lr"].to(lists[0][0].dtype)
            for part in by_size(list(zip(*lists_of_numbers, strict=True)), self.alone):
                adagrad_update(part, minus_rate, group["eps"])


def adagrad_update(rows: list[tuple[Tensor, ...]], minus_rate: Tensor, eps: float) -> None:
    """Adagrad's update of parameters, each with its gradient and its sum of squares."""
    if len(rows) == 1:
        weight, gradient, total = rows[0]
        total.addcmul_(gradient, gradient, value=1)
        weight.addcdiv_(gradient * minus_rate, total.sqrt().add_(eps))
        return
    weights, gradients, sums = (list(column) for column in zip(*rows, strict=True))
    torch._foreach_addcmul_(sums, gradients, gradients, value=1)
    roots = torch._foreach_sqrt(sums)
    torch._foreach_add_(roots, eps)
    torch._foreach_addcdiv_(weights, torch._foreach_mul(gradients, minus_rate), roots)


def by_size(rows: list[tuple[Tensor, ...]], alone: float) -> list[list[tuple[Tensor, ...]]]:
    """The rows of small parameters together, if any, and of each large one."""
    small = [row for row in rows if row[0].numel() < alone]
    return ([small] if small else []) + [[row] for row in rows if row[0].numel() >= alone]

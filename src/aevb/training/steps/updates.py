"""Forms of an optimizer whose update is a part of a graph or a program: its learning rates are tensors."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adagrad, Optimizer
from torch.overrides import TorchFunctionMode


def unfused(optimizer: Optimizer, learning_rates: list[Tensor]) -> Optimizer:
    """The optimizer in a form that a compiler fuses.

    On a GPU, its operations are for all parameters at once, which become one kernel and not one for each parameter.
    """
    together = learning_rates[0].device.type == "cuda"
    settings = {"fused": False, "foreach": together} | ({"capturable": True} if together else {})
    return with_tensor_rates(optimizer, learning_rates, settings)


def with_tensor_rates(optimizer: Optimizer, learning_rates: list[Tensor], settings: dict[str, bool]) -> Optimizer:
    """The optimizer with the same parameters and state, other settings where it has them, and tensor learning rates.

    Its step never asks a tensor for its value.
    """
    copied = copy.copy(optimizer)
    copied._optimizer_step_post_hooks = optimizer._optimizer_step_post_hooks  # of averages of the weights
    copied.param_groups = [
        group | {name: value for name, value in settings.items() if name in group} | {"lr": rate}
        for group, rate in zip(optimizer.param_groups, learning_rates, strict=True)
    ]
    take_step: Callable[[], Any] = copied.step
    if is_plain_adagrad(copied):
        take_step = Together(copied)

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
    """Whether an optimizer is an Adagrad that `Together` can replace."""
    return type(optimizer) is Adagrad and all(
        not group["fused"]
        and group["foreach"] is not False
        and not (group["lr_decay"] or group["weight_decay"] or group["maximize"])
        and all(parameter.device.type == "cuda" for parameter in group["params"])
        for group in optimizer.param_groups
    )


class Together:
    """The step of Adagrad for all parameters at once, with the bits of torch's.

    torch divides a learning rate that is a tensor by a factor for each parameter, in four kernels, although the factor
    is 1 without decay of the learning rate: for the paper's model these are a third of a step's kernels.

    Args:
        optimizer: An Adagrad without decays.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer: Any = optimizer

    @torch.no_grad()
    def __call__(self) -> None:
        for group in self.optimizer.param_groups:
            parameters: list[Tensor] = []
            gradients: list[Tensor] = []
            sums: list[Tensor] = []
            steps: list[Tensor] = []
            self.optimizer._init_group(group, parameters, gradients, sums, steps)
            if not parameters:
                continue
            torch._foreach_add_(steps, 1)
            torch._foreach_addcmul_(sums, gradients, gradients, value=1)
            roots = torch._foreach_sqrt(sums)
            torch._foreach_add_(roots, group["eps"])
            changes = torch._foreach_mul(gradients, -group["lr"].to(gradients[0].dtype))
            torch._foreach_addcdiv_(parameters, changes, roots)

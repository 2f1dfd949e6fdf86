"""Updates with learning rates that are tensors are those of torch's optimizers."""

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Adagrad

from aevb.training.steps.updates import AdagradStep, is_plain_adagrad, with_tensor_rates


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((7, 5), (7,), (3, 7), ())]


def updated(optimizer: Any, weights: list[nn.Parameter]) -> list[torch.Tensor]:
    """Parameters and states after four steps, in one of which a parameter has no gradient."""
    generator = torch.Generator().manual_seed(1)
    for step in range(4):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator)
        if step == 2:
            weights[1].grad = None
        optimizer()
    return [*weights, *(value for state in given_state(optimizer).values() for value in state.values())]


def given_state(optimizer: Any) -> Any:
    return (optimizer.optimizer if isinstance(optimizer, AdagradStep) else optimizer.__self__).state


@pytest.mark.parametrize("alone", [math.inf, 10, 0])
@pytest.mark.parametrize("rate", [0.05, 1e-3])
def test_adagrad_of_small_parameters_together_has_the_bits_of_torchs(rate: float, alone: float) -> None:
    ours, theirs = parameters(), parameters()
    copied = with_tensor_rates(Adagrad(ours, lr=rate, eps=1e-8), [torch.tensor(rate, dtype=torch.float64)], {})
    found = updated(AdagradStep(copied, alone), ours)
    expected = updated(Adagrad(theirs, lr=rate, eps=1e-8, foreach=True).step, theirs)
    assert all(map(torch.equal, found, expected))
    assert not any(map(torch.equal, found[:4], parameters()))


def test_only_an_adagrad_without_decays_is_replaced() -> None:
    assert is_plain_adagrad(Adagrad(parameters()))
    assert not is_plain_adagrad(Adagrad(parameters(), lr_decay=0.1))
    assert not is_plain_adagrad(Adagrad(parameters(), foreach=False))
    assert not is_plain_adagrad(torch.optim.SGD(parameters()))

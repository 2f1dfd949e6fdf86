"""Numerical safety of every head at the edges: extreme network outputs, the ends of the support, tiny scales."""

import contextlib
import inspect
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings

EXTREMES = [-1e4, -100.0, -88.0, -20.0, -0.2, -1e-8, 0.0, 1e-4, 0.2, 20.0, 88.0, 100.0, 1e4]
outputs = st.sampled_from(EXTREMES) | st.floats(-1e4, 1e4, width=32)
many = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def edge_data(case: Any) -> torch.Tensor:
    """(B, 1, 1, 1): the ends of the support, what is next to them, and something between."""
    if case.name in ("Poisson", "NegativeBinomial"):
        return torch.tensor([0.0, 1.0, 7.0, 1e4, 1e6]).view(-1, 1, 1, 1)
    if isinstance(case.values, tuple):
        return torch.tensor([0.0, 1e-30, 1e-6, 0.5, 1 - 6e-8, 1.0]).view(-1, 1, 1, 1)
    return torch.tensor([0.0, 1 / 255, 0.2, 254 / 255, 1.0]).view(-1, 1, 1, 1)


def head_with(case: Any, raw: list[float], with_output: Any, **more: Any) -> Any:
    head = case.head(**more)
    entries = torch.tensor(raw).repeat(head.parameters_per_value // len(raw) + 1)[: head.parameters_per_value]
    return with_output(head, entries)


@pytest.mark.parametrize("precision", ["float32", "bf16 autocast"])
@many
@given(raw=st.lists(outputs, min_size=6, max_size=6))
@example(raw=[1e4] * 6)
@example(raw=[-1e4] * 6)
@example(raw=[1e4, -1e4] * 3)
@example(raw=[-1e4, 1e4] * 3)
@example(raw=[0.0] * 6)
def test_values_and_gradients_are_finite(case: Any, with_output: Any, precision: str, raw: list[float]) -> None:
    tiny = {"min_scale": 1e-6} if "min_scale" in inspect.signature(case.head().__init__).parameters else {}
    head = head_with(case, raw, with_output, **tiny)
    x = edge_data(case)
    mixed = torch.autocast("cpu", torch.bfloat16) if precision != "float32" else contextlib.nullcontext()
    with mixed:
        distribution = head(torch.zeros(2, len(x), 3))
        log_prob = distribution.log_prob(x)
    assert log_prob.isfinite().all(), log_prob
    assert distribution.mean.isfinite().all()
    assert distribution.sample().isfinite().all()
    log_prob.mean().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), (name, parameter.grad)


@many
@given(raw=st.lists(st.floats(-30, 30, width=32), min_size=6, max_size=6))
@example(raw=[16.5] * 6)
@example(raw=[-25.0] * 6)
@example(raw=[9.0] * 6)
def test_float32_agrees_with_float64(case: Any, with_output: Any, raw: list[float]) -> None:
    """Values are off by 10⁻⁴ of themselves, or by up to 0.02 nats, as at a beta's largest concentrations."""
    x = edge_data(case).clamp(max=1e3)
    single = head_with(case, raw, with_output)(torch.zeros(1, len(x), 3)).log_prob(x)
    head = head_with(case, raw, with_output).double()
    double = head(torch.zeros(1, len(x), 3, dtype=torch.float64)).log_prob(x.double())
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=0.02)

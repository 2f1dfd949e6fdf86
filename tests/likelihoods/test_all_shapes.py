"""Shapes, mixed precision and checks that every head shares."""

import re
from typing import Any

import pytest
import torch

from aevb import likelihoods

IN_SHAPES = {"vector": (7,), "feature map": (5, 4, 3)}


@pytest.mark.parametrize("features", IN_SHAPES)
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes(case: Any, features: str, channels: int) -> None:
    data_shape = (channels, 4, 3)
    head = case.head(IN_SHAPES[features], data_shape)
    distribution = head(torch.randn(2, 6, *IN_SHAPES[features]))
    assert distribution.batch_shape == (2, 6)
    assert distribution.event_shape == data_shape
    assert distribution.mean.shape == (2, 6, *data_shape)
    assert distribution.sample().shape == (2, 6, *data_shape)
    assert distribution.sample((8, 1)).shape == (8, 1, 2, 6, *data_shape)
    assert distribution.log_prob(case.data(6, *data_shape)).shape == (2, 6)
    assert distribution.log_prob(distribution.sample((5,))).shape == (5, 2, 6)


def test_log_prob_sums_over_the_values(case: Any) -> None:
    """Each value is scored by itself: a value that changes leaves the terms of the others as they are."""
    head = case.head((3,), (2, 2, 1)).double()
    h = torch.randn(1, 1, 3, dtype=torch.float64)
    a, b = case.data(2, 2, 2, 1, seed=1).double()
    changed = torch.stack([torch.where(torch.arange(4).view(2, 2, 1) == i, b, a) for i in range(4)])
    log_prob = head(h.expand(1, 6, 3)).log_prob(torch.cat([a[None], b[None], changed]))[0]
    torch.testing.assert_close((log_prob[2:] - log_prob[0]).sum(), log_prob[1] - log_prob[0])


def test_samples_of_z_are_scored_one_by_one(case: Any) -> None:
    head = case.head((3,), (1, 4, 2))
    h, x = torch.randn(4, 5, 3), case.data(5, 1, 4, 2)
    together = head(h).log_prob(x)
    torch.testing.assert_close(together, torch.cat([head(one[None]).log_prob(x) for one in h]))


def test_a_feature_map_has_the_same_layer_at_every_pixel(case: Any) -> None:
    head = case.head((5, 2, 2), (3, 2, 2))
    raw = head.project(torch.randn(1, 1, 5, 1, 1).expand(1, 1, 5, 2, 2))
    for parameter in raw:
        torch.testing.assert_close(parameter, parameter[..., :1, :1].expand_as(parameter))


def test_densities_are_computed_in_float32_under_mixed_precision(case: Any) -> None:
    head = case.head((3,), (1, 4, 2))
    with torch.autocast("cpu", torch.bfloat16):
        distribution = head(torch.randn(2, 5, 3))
        assert distribution.log_prob(case.data(5, 1, 4, 2)).dtype == torch.float32
        assert distribution.mean.dtype == torch.float32


def test_a_feature_map_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"features of shape \(5, 2, 2\) for data of shape \(1, 4, 3\)"):
        likelihoods.Bernoulli((5, 2, 2), (1, 4, 3))


SUPPORTS = {
    "Bernoulli": (r"\[0, 1\]", 1.5),
    "ContinuousBernoulli": (r"\[0, 1\]", -0.25),
    "GaussianUniformMixture": (r"\[0, 1\]", 2.0),
    "Beta": (r"\[0, 1\]", 1.01),
    "DiscretizedLogistic": (r"\{0, 1/255, …, 1\}", 0.5),
    "DiscretizedLogisticMixture": (r"\{0, 1/255, …, 1\}", 256 / 255),
    "Categorical": (r"\{0, 1/255, …, 1\}", 0.5),
    "Poisson": ("whole numbers from 0", -1.0),
    "NegativeBinomial": ("whole numbers from 0", 0.5),
}


def test_data_in_the_support_pass(case: Any) -> None:
    case.head().check(case.data(300))


def test_data_outside_the_support_are_named(case: Any) -> None:
    x = case.data(300)
    if case.name in SUPPORTS:
        described, x[7] = SUPPORTS[case.name]
        message = f"likelihood {case.name} needs data in {described}, got {x[7]:.8g} among values from "
    else:
        x[7], message = float("nan"), "x must be finite, got nan in 1 of 300 values"
    with pytest.raises(ValueError, match=rf"^{message}[^\n]*$"):
        case.head().check(x)


@pytest.mark.parametrize(("value", "shown"), [(1.0000001, "1.0000001"), (-1e-9, "-1e-09"), (1.5, "1.5"), (2, "2")])
def test_values_outside_are_shown_with_all_their_digits(value: float, shown: str) -> None:
    head = likelihoods.Bernoulli((3,), (1, 1, 1))
    with pytest.raises(ValueError, match=rf"got {re.escape(shown)} among values from .*; choose another"):
        head.check(torch.tensor([0.1, 1.0, value]).view(3, 1, 1, 1))

"""Conditions that parts of a model take."""

import pytest
import torch
from torch import nn

from aevb.networks import MLP, FirstLayer, beside, condition_shape_of, given


def conditional(features: int = 4) -> MLP:
    return MLP((3,), [features], "tanh", condition_shape=(2,))


def test_given_binds_the_parts_that_take_a_condition_and_shares_all_parameters():
    model = nn.ModuleDict({"plain": MLP((3,), [4], "tanh"), "nested": nn.Sequential(conditional(), nn.Linear(4, 1))})
    x, c = torch.randn(5, 3), torch.randn(5, 2)
    bound = given(model, c)
    assert bound["plain"] is model["plain"]
    assert torch.equal(bound["nested"](x), model["nested"][1](model["nested"][0](x, c)))
    assert {id(weight) for weight in bound.parameters()} == {id(weight) for weight in model.parameters()}
    assert [*bound.state_dict()] == [*model.state_dict()]
    other = torch.randn(5, 2)
    assert torch.equal(given(bound, other)["nested"](x), given(model, other)["nested"](x))


def test_a_condition_reaches_the_decoder_within_another_part():
    part = FirstLayer(5, (1, 1, 7), (3, 2), lambda dim, shape: conditional())
    z, c = torch.randn(6, 5, 5), torch.randn(5, 2)
    assert torch.equal(given(part, c)(z), part.decoder(z[..., :3], c))


def test_parts_without_a_condition_stay_as_they_are():
    model = nn.Sequential(MLP((3,), [4], "tanh"), nn.Linear(4, 1))
    assert given(model, torch.zeros(5, 2)) is model
    assert condition_shape_of(model) is None


def test_values_of_c_lie_beside_those_of_x_for_each_sample():
    z, c = torch.randn(6, 5, 3), torch.arange(10).view(5, 2)
    joint = beside(z, c)
    assert joint.shape == (6, 5, 5)
    assert torch.equal(joint[4, :, 3:], c.float())
    assert torch.equal(beside(z[0], torch.arange(5))[:, 3], torch.arange(5.0))
    assert torch.equal(beside(z[4], c.view(5, 1, 2)), joint[4])


def test_conditions_of_two_shapes_or_none_are_refused():
    assert condition_shape_of(conditional(), conditional()) == (2,)
    with pytest.raises(ValueError, match=r"take conditions of one shape, got \[\[2\], \[3\]\]$"):
        condition_shape_of(conditional(), MLP((3,), [4], "tanh", condition_shape=(3,)))
    with pytest.raises(ValueError, match=r"needs a condition: use p\.given"):
        conditional()(torch.zeros(5, 3))

"""Initialisation of weights and biases."""

import math

import pytest
import torch

from aevb.networks import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder, initialize


def test_normal_initialisation_is_the_papers():
    backbone = MLPEncoder((1, 28, 28), hidden=[500])
    initialize(backbone, "normal", std=0.1)
    for parameter in backbone.parameters():
        assert parameter.std().item() == pytest.approx(0.1, rel=5 / math.sqrt(2 * parameter.numel()))
        assert parameter.mean().abs().item() < 5 * 0.1 / math.sqrt(parameter.numel())


def test_xavier_initialisation_is_glorots():
    backbone = ConvEncoder((1, 28, 28), channels=[32], hidden=[10])
    initialize(backbone, "xavier")
    convolution, dense = backbone.convolutions[0], backbone.dense.layers[0]
    for layer, fan_in, fan_out in [(convolution, 9, 32 * 9), (dense, 32 * 14 * 14, 10)]:
        bound = math.sqrt(6 / (fan_in + fan_out))
        assert 0.9 * bound < layer.weight.abs().max().item() <= bound
        assert not layer.bias.any()


def test_pytorch_initialisation_leaves_the_weights():
    backbone = ConvDecoder(2, (1, 8, 8))
    before = [parameter.clone() for parameter in backbone.parameters()]
    initialize(backbone, "pytorch")
    assert all(torch.equal(old, new) for old, new in zip(before, backbone.parameters(), strict=True))


@pytest.mark.parametrize(("scheme", "std"), [("kaiming", 0.1), ("normal", 0.0), ("normal", float("nan"))])
def test_bad_initialisation_is_refused(scheme, std):
    with pytest.raises(ValueError, match=r"^(scheme|std) must be"):
        initialize(MLPDecoder(2, (1, 8, 8)), scheme, std)

"""Convolutional encoder and decoder."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from aevb.networks import ConvDecoder, ConvEncoder
from aevb.networks.convolutional import ResidualBlock, Upsample

sizes = st.integers(4, 40)


@settings(max_examples=25, deadline=None)
@given(height=sizes, width=sizes, image_channels=st.integers(1, 4), layers=st.integers(1, 2), residual=st.booleans())
def test_convolutional_backbones_fit_every_image_size(height, width, image_channels, layers, residual):
    shape = (image_channels, height, width)
    encoder = ConvEncoder(shape, channels=[3, 5][:layers], hidden=[6], residual=residual)
    decoder = ConvDecoder(2, shape, channels=[5, 3][:layers], hidden=[6], residual=residual)
    assert encoder(torch.rand(2, *shape)).shape == (2, 6) == (2, *encoder.out_shape)
    maps = decoder(torch.randn(3, 2, 2))
    assert maps.shape == (3, 2, *decoder.out_shape)
    assert decoder.out_shape == ([5, 3][layers - 1], height, width)


def test_dropout_follows_each_convolution_and_each_fully_connected_layer():
    torch.manual_seed(0)
    encoder = ConvEncoder((1, 8, 8), channels=[3, 5], hidden=[6], dropout=0.5)
    assert [layer.p for layer in encoder.modules() if isinstance(layer, nn.Dropout)] == [0.5] * 3
    x = torch.rand(4, 1, 8, 8)
    assert not torch.equal(encoder.train()(x), encoder(x))
    assert torch.equal(encoder.eval()(x), encoder(x))


@pytest.mark.parametrize("shape", [(1, 28, 20), (1, 8, 8), (1, 28, 28), (3, 32, 32), (1, 5, 7), (2, 1, 9)])
@pytest.mark.parametrize("residual", [False, True])
def test_every_pixel_reaches_the_features_and_every_feature_map_pixel_depends_on_z(shape, residual):
    torch.manual_seed(0)
    encoder = ConvEncoder(shape, channels=[4, 8], hidden=[16], residual=residual)
    x = torch.rand(1, *shape, requires_grad=True)
    (gradient,) = torch.autograd.grad(encoder(x).square().sum(), x)
    assert (gradient != 0).all()
    decoder = ConvDecoder(2, shape, channels=[8, 4], hidden=[16], residual=residual)
    assert (decoder(torch.zeros(1, 1, 2)) - decoder(torch.ones(1, 1, 2)) != 0).all()


def test_convolutional_backbones_treat_leading_dimensions_as_a_batch():
    encoder, decoder = ConvEncoder((1, 6, 5), channels=[3], hidden=[4]), ConvDecoder(2, (1, 6, 5), channels=[3])
    x, z = torch.rand(2, 3, 1, 6, 5), torch.randn(2, 3, 2)
    assert torch.allclose(encoder(x)[1, 2], encoder(x[1, 2][None])[0], atol=1e-6)
    assert torch.allclose(decoder(z)[1, 2], decoder(z[1, 2]), atol=1e-6)


def test_convolutional_backbones_without_dense_layers():
    encoder = ConvEncoder((1, 9, 6), channels=[3, 5], hidden=[])
    assert encoder.out_shape == (5 * 3 * 2,)
    assert encoder(torch.rand(2, 1, 9, 6)).shape == (2, 30)
    assert ConvDecoder(2, (1, 9, 6), channels=[5, 3], hidden=[])(torch.randn(1, 2, 2)).shape == (1, 2, 3, 9, 6)


def test_upsampling_has_no_checkerboard():
    """With equal weights a constant map stays constant, away from the border, which sees fewer terms."""
    layer = Upsample(1, 1, (12, 11))
    torch.nn.init.ones_(layer.layer.weight)
    inner = layer(torch.ones(1, 1, 6, 6))[..., 1:-1, 1:-1]
    assert torch.allclose(inner, inner[..., :1, :1])


def test_residual_block_adds_its_input():
    block = ResidualBlock(3, "tanh")
    x = torch.rand(2, 3, 5, 4)
    first, second = block.layers[1], block.layers[3]
    change = F.conv2d(torch.tanh(x), first.weight, first.bias, padding=1)
    change = F.conv2d(torch.tanh(change), second.weight, second.bias, padding=1)
    assert torch.allclose(block(x), x + change, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(ConvEncoder, (1, 8, 8), channels=[3, -1]), "channels must be a list of positive sizes"),
        (partial(ConvEncoder, (1, 8, 8), channels=[4] * 4), "encoder.channels must have 1 to 3 entries"),
        (partial(ConvEncoder, (1, 8, 8), channels=[]), "encoder.channels must have 1 to 3 entries"),
        (partial(ConvDecoder, 2, (1, 8, 8), channels=32), "channels must be a list"),
        (partial(ConvDecoder, 2, (1, 8, 8), activation="sine"), "activation must be one of"),
        (partial(ConvDecoder, 2, (50,)), "decoder.channels: convolutions need images"),
    ],
)
def test_bad_settings_stop_with_one_line(make, message):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        make()
    assert "\n" not in str(caught.value)

"""Multi-layer perceptrons."""

from functools import partial

import pytest
import torch

from aevb.networks import MLPDecoder, MLPEncoder


def test_mlp_is_tanh_of_an_affine_map():
    backbone = MLPEncoder((1, 2, 3), hidden=[4])
    x = torch.rand(5, 1, 2, 3)
    weight, bias = backbone.layers[0].weight, backbone.layers[0].bias
    assert torch.allclose(backbone(x), torch.tanh(x.reshape(5, 6) @ weight.T + bias))
    assert backbone.out_shape == (4,)


def test_mlp_without_hidden_layers_is_the_identity():
    backbone = MLPEncoder((1, 2, 3), hidden=[])
    x = torch.rand(5, 1, 2, 3)
    assert torch.equal(backbone(x), x.reshape(5, 6))


def test_dropout_scales_what_it_keeps_in_training_alone():
    torch.manual_seed(0)
    backbone = MLPEncoder((1, 2, 3), hidden=[400], dropout=0.25)
    x = torch.rand(50, 1, 2, 3)
    whole, part = backbone.eval()(x), backbone.train()(x)
    assert torch.allclose(whole, backbone.layers[:2](x.reshape(50, 6)))
    kept = part != 0
    torch.testing.assert_close(part[kept], whole[kept] / 0.75)
    assert abs(kept.float().mean() - 0.75) < 0.02  # 6 standard deviations


def test_mlp_decoder_keeps_leading_dimensions():
    backbone = MLPDecoder(3, (1, 8, 8), hidden=[7, 6])
    assert backbone(torch.randn(2, 5, 3)).shape == (2, 5, 6) == (2, 5, *backbone.out_shape)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(MLPEncoder, (1, 8, 8), hidden=200), "hidden must be a list"),
        (partial(MLPEncoder, (1, 8, 8), hidden=[0]), "hidden must be a list of positive sizes"),
        (partial(MLPEncoder, (1, 8, 8), dropout=1), "dropout must be a number from 0 to below 1, got 1"),
        (partial(MLPDecoder, 2, (1, 8, 8), activation="sine"), "activation must be one of"),
    ],
)
def test_bad_settings_stop_with_one_line(make, message):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        make()
    assert "\n" not in str(caught.value)

"""Maps of convolutional models with several layers."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aevb.networks.spatial import ConvPyramid, GaussianMaps, LastMaps, latent_maps, map_sizes, map_widths
from aevb.priors import ConvTopDown

SIDES = st.integers(1, 9)


def test_maps_have_the_sizes_of_halvings_rounded_up() -> None:
    assert map_sizes((1, 28, 20), [0, 1, 3, 3]) == [(28, 20), (14, 10), (4, 3), (4, 3)]
    assert latent_maps((1, 28, 28), [1, 2], [1, 2]) == [(1, 14, 14), (2, 7, 7)]


@settings(max_examples=15, deadline=None)
@given(height=SIDES, width=SIDES, first=st.integers(0, 1), second=st.integers(1, 2), growth=st.integers(1, 2))
def test_parts_fit_every_image_size(height: int, width: int, first: int, second: int, growth: int) -> None:
    shape, halvings, channels = (2, height, width), [first, second], [1, 3]
    if second > math.ceil(math.log2(max(height, width))):
        return
    shapes = latent_maps(shape, channels, halvings)
    latent_dim = sum(map(math.prod, shapes))
    prior = ConvTopDown(latent_dim, shape, channels, halvings, width=4, growth=growth)
    decoder = LastMaps(latent_dim, shape, halvings, width=4)
    p = torch.nn.Module()
    p.prior = prior
    decoder.connect(p, None)
    z = prior().sample((2, 5))
    assert z.shape == (2, 5, latent_dim)
    assert prior().log_prob(z).shape == (2, 5)
    assert decoder(z).shape == (2, 5, *decoder.out_shape)
    assert decoder.out_shape == (4, height, width)
    encoder = ConvPyramid(shape, halvings, width=4, growth=growth)
    assert encoder(torch.rand(3, *shape)).shape == (3, *encoder.out_shape)


def test_encoder_gives_the_maps_of_different_sizes_once() -> None:
    assert ConvPyramid((1, 8, 8), [1, 1, 2], width=4).out_shape == (4 * 16 + 4 * 4,)


def test_channels_grow_with_each_halving_after_the_first_layer() -> None:
    assert map_widths(16, 2, [1, 2, 2, 4]) == [16, 32, 32, 128]
    encoder = ConvPyramid((1, 8, 8), [1, 2, 3], width=4, growth=3)
    assert encoder.out_shape == (4 * 16 + 12 * 4 + 36,)
    first = [stage[1 if level else 0] for level, stage in enumerate(encoder.stages)]
    assert [(layer.in_channels, layer.out_channels) for layer in first] == [(1, 4), (4, 4), (4, 12), (12, 36)]
    prior = ConvTopDown(16 + 4 + 1, (1, 8, 8), [1, 1, 1], [1, 2, 3], width=4, growth=3)
    states = [prior.start[None]]
    for layer in (2, 1, 0):
        states.append(prior.next_state(layer, states[-1], torch.randn(1, prior.latent_dims[layer])))
    assert [tuple(h.shape[1:]) for h in states] == [(36, 1, 1), (12, 2, 2), (4, 4, 4), (4, 4, 4)]


def test_gaussian_without_blocks_is_linear() -> None:
    maps = GaussianMaps(3, 2, 0, "silu")
    with torch.no_grad():
        maps.layer.bias.zero_()
        h = torch.randn(5, 2, 3, 4, 4)
        mean, log_variance = maps.parameters_of(h)
        assert mean.shape == log_variance.shape == (5, 2, 2 * 16)
        torch.testing.assert_close(maps.parameters_of(2 * h), (2 * mean, 2 * log_variance))


@pytest.mark.parametrize(
    ("shape", "channels", "halvings", "message"),
    [
        ((1, 8, 8), [1, 2], [1, 2, 3], "latent_channels and halvings must have one entry for each layer"),
        ((1, 8, 8), [1, 2], [2, 1], "halvings must rise from the layer next to the data to the top, and be 0 to 3"),
        ((1, 8, 6), [1], [4], r"halvings must rise .* and be 0 to 3 for images of 8x6, got \[4\]"),
        ((64,), [1], [1], "maps need images of shape"),
    ],
)
def test_what_does_not_fit_is_refused(shape: tuple[int, ...], channels: Any, halvings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        latent_maps(shape, channels, halvings)

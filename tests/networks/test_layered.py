"""Decoders of models with several layers of latent variables."""

from functools import partial

import torch

from aevb.networks import MLPDecoder
from aevb.networks.layered import FirstLayer, LastState
from aevb.priors.hierarchical import TopDown

DATA_SHAPE = (1, 2, 2)


def test_first_layer_reads_z_1_alone() -> None:
    decoder = FirstLayer(5, DATA_SHAPE, latent_dims=[3, 2], decoder=partial(MLPDecoder, hidden=[4]))
    z = torch.randn(2, 6, 5, requires_grad=True)
    features = decoder(z)
    assert features.shape == (2, 6, *decoder.out_shape)
    (gradient,) = torch.autograd.grad(features.sum(), z)
    assert (gradient[..., :3] != 0).all()
    assert not gradient[..., 3:].any()


def test_last_state_decodes_the_state_of_the_prior() -> None:
    prior = TopDown(5, latent_dims=[3, 2], width=7, hidden=[4])
    decoder = LastState(5, DATA_SHAPE, width=7, decoder=partial(MLPDecoder, hidden=[4]))
    p = torch.nn.Module()
    p.prior = prior
    decoder.connect(p, None)
    z = torch.randn(2, 6, 5)
    torch.testing.assert_close(decoder(z), decoder.decoder(prior.last_state(z)))
    assert not {id(weight) for weight in decoder.parameters()} & {id(weight) for weight in prior.parameters()}

"""The encoder of tokens."""

import torch

from aevb.networks import TokenEncoder


def test_the_encoder_of_tokens_reads_all_of_a_sequence() -> None:
    torch.manual_seed(0)
    encoder = TokenEncoder((5,), vocabulary=4, width=3, embedding=2)
    x = torch.randint(4, (2, 3, 5)).float()
    features = encoder(x)
    assert features.shape == (2, 3, *encoder.out_shape) == (2, 3, 6)
    for step in range(5):
        changed = x.clone()
        changed[..., step] = (x[..., step] + 1) % 4
        assert ((encoder(changed) - features).abs().amax(-1) > 0).all()
    torch.testing.assert_close(encoder(x[1]), features[1])

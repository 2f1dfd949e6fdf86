"""The categorical prior."""

import math

import torch

from aevb import priors


def test_it_is_uniform_or_learned():
    fixed, learned = priors.Categorical(6, categories=3), priors.Categorical(6, categories=3, learned=True)
    z = fixed().sample((5,))
    assert torch.allclose(fixed().log_prob(z), torch.tensor(-2 * math.log(3)))
    assert not fixed.state_dict()
    assert [*dict(learned.named_parameters())] == ["logits"]
    with torch.no_grad():
        learned.logits.copy_(torch.tensor([[0.0, 1.0, 2.0], [0.0, 0.0, 0.0]]))
    expected = torch.tensor([0.0, 1.0, 2.0]).softmax(0)
    assert torch.allclose(learned().mean, torch.cat([expected, torch.full((3,), 1 / 3)]))

"""Densities by a short cut are those of the model."""

import pytest
import torch

from aevb.estimators.scoring import BernoulliMLP, log_likelihood

from ..small import pair, small_model


@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 3, 2), (1, 3, 3)])
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_bernoulli_shortcut_is_right_for_any_logits(scale, shape):
    torch.manual_seed(0)
    p, _ = pair(small_model(shape))
    with torch.no_grad():
        p.head.layer.weight.mul_(10 * scale)
        x, z = torch.rand(3, *shape), torch.randn(5, 3, 2)
        shortcut = log_likelihood(p, x)
        assert isinstance(shortcut, BernoulliMLP)
        expected = p.likelihood(z.double().float()).log_prob(x)
        assert torch.allclose(shortcut(z), expected, rtol=1e-5, atol=1e-4)

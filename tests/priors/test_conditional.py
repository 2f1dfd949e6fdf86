"""The prior given a condition."""

from functools import partial

import pytest
import torch

from aevb.networks import MLPDecoder, MLPEncoder
from aevb.objectives import SGVB
from aevb.priors import ConditionalGaussian

from ..small import small_model


def test_each_condition_has_its_own_gaussian():
    prior = ConditionalGaussian(2, (3,), hidden=[])
    c = torch.eye(3)
    distribution = prior(c)
    mean, log_variance = (prior.network.layer(c)).chunk(2, -1)
    expected = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    z = torch.randn(5, 3, 2)
    torch.testing.assert_close(distribution.log_prob(z), expected.log_prob(z).sum(-1))
    with pytest.raises(ValueError, match=r"^the prior p\(z\|c\) needs a condition"):
        prior()


def test_a_model_with_it_has_an_elbo_gradients_and_samples():
    shape = {"condition_shape": (3,)}
    vae = small_model(
        (1, 4, 4),
        encoder=partial(MLPEncoder, hidden=[8], **shape),
        decoder=partial(MLPDecoder, hidden=[8], **shape),
        prior=partial(ConditionalGaussian, **shape),
    )
    x, c = torch.rand(5, 1, 4, 4), torch.eye(3)[[0, 1, 2, 0, 1]]
    SGVB(weight_prior=False)(vae.p.given(c), vae.q.given(c), x).loss.backward()
    assert all(weight.grad is not None for weight in vae.parameters())
    assert vae.sample(5, c=c).shape == x.shape
    difference = vae.log_marginal(x, 2000, c=c) - vae.elbo(x, 2000, c=c)
    assert (difference > -0.1).all()

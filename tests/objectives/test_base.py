"""The prior on the weights, p(θ) = N(0, I), against torch's own normal distribution."""

import torch
from torch.distributions import Normal

from aevb.objectives import SGVB
from aevb.objectives.base import log_weight_prior

from ..ppca import make_ppca


def test_value_and_gradient():
    p = make_ppca(latent_dim=2, data_dim=3).p
    expected = sum(Normal(0.0, 1.0).log_prob(weight).sum() for weight in p.parameters())
    wanted = torch.autograd.grad(expected, list(p.parameters()))
    found = torch.autograd.grad(log_weight_prior(p), list(p.parameters()))
    torch.testing.assert_close(log_weight_prior(p), expected)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)


def test_it_is_in_the_loss_scaled_by_the_data_and_not_in_the_elbo():
    p, q, x = make_ppca(latent_dim=2, data_dim=3)
    objective = SGVB(weight_prior=True)
    objective.num_data = 50
    torch.manual_seed(0)
    with_prior = objective(p, q, x)
    torch.manual_seed(0)
    without = SGVB(weight_prior=False)(p, q, x)
    torch.testing.assert_close(with_prior.loss, without.loss - log_weight_prior(p) / 50)
    torch.testing.assert_close(with_prior.elbo, without.elbo)
    torch.testing.assert_close(with_prior.extras["log_weight_prior"], log_weight_prior(p) / 50)

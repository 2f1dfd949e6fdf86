"""Posteriors by normalizing flows."""

import math

import pytest
import torch
from torch.distributions import (
    Independent,
    Normal,
)

from aevb.networks import initialize

from .heads import FLOWS, HEADS, features


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("latent_dim", [1, 2, 5])
def test_flows_start_as_a_diagonal_gaussian_whatever_the_initialisation(name, latent_dim):
    torch.manual_seed(0)
    head = HEADS[name](5, latent_dim).double()
    initialize(head, "normal")
    h = features()
    mean, log_variance, _ = head.layer(h).tensor_split((latent_dim, 2 * latent_dim), dim=-1)
    expected = Independent(Normal(mean, (0.5 * log_variance).exp()), 1)
    posterior = head(h)
    z = posterior.rsample((50,))
    assert torch.allclose(posterior.log_prob(z), expected.log_prob(z))
    assert torch.allclose(posterior.log_prob(z.clone()), expected.log_prob(z))
    assert torch.allclose(posterior.mean, mean)


@pytest.mark.parametrize("name", FLOWS)
def test_flows_learn_away_from_the_identity(name):
    """Fitted to p(z) = N(z₁; 0, 1) N(z₂; z₁², ½²), a flow comes closer than the best Gaussian, whose KL is 0.56.

    A Gaussian q with the symmetry of p has independent dimensions, and E_q[z₂] = v = Var z₁ and Var z₂ = ¼ are best.
    What is left of the KL, −½ log v + ½ v + 4 v² − ½, has its minimum where 8 v² + ½ v = ½.
    """
    v = (math.sqrt(0.25 + 16) - 0.5) / 16
    best_gaussian = -0.5 * math.log(v) + 0.5 * v + 4 * v**2 - 0.5
    torch.manual_seed(0)
    head = HEADS[name](5, 2)

    def kl(count: int) -> torch.Tensor:
        posterior = head(torch.zeros(count, 5))
        z = posterior.rsample((1,))
        first, second = z.unbind(-1)
        log_target = Normal(0.0, 1.0).log_prob(first) + Normal(first.square(), 0.5).log_prob(second)
        return (posterior.log_prob(z) - log_target).mean()

    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    for _ in range(400):
        optimizer.zero_grad()
        kl(256).backward()
        optimizer.step()
    assert -0.05 < kl(20_000).item() < 0.75 * best_gaussian

"""The chain of imputation against the conditional distributions of probabilistic PCA."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from aevb.tasks.chain import KnownPixels, NoisyPixels, restore
from aevb.vae import VAE

from ..ppca import PPCA, make_ppca

CHAINS = 400


def ppca_with(q: str) -> PPCA:
    """With the exact posterior as q, or one that is somewhat off and too wide."""
    ppca = make_ppca(latent_dim=1, data_dim=3, num_data=4, sigma=0.5, orthogonal=True)
    ppca.use_exact_posterior()
    if q == "wrong":
        with torch.no_grad():
            ppca.q.head.layer.bias += torch.tensor([0.3, 0.5])
    return ppca


def conditional_mean(ppca: PPCA, x: Tensor, observed: Tensor) -> tuple[Tensor, float]:
    """E[x | x_observed] of one x (D,), and log p(x_observed)."""
    mean = ppca.bias.detach()
    covariance = (ppca.weight @ ppca.weight.T).detach() + ppca.sigma**2 * torch.eye(len(x), dtype=x.dtype)
    seen = observed.nonzero().flatten()
    if len(seen) == 0:
        return mean, 0.0
    marginal = torch.distributions.MultivariateNormal(mean[seen], covariance[seen][:, seen])
    gain = torch.linalg.solve(covariance[seen][:, seen], covariance[seen]).T
    expected = mean + gain @ (x[seen] - mean[seen])
    return torch.where(observed, x, expected), float(marginal.log_prob(x[seen]))


def by_chain(ppca: PPCA, observation, start: Tensor) -> tuple[Tensor, float]:
    torch.manual_seed(0)
    repeated = start.repeat(CHAINS, 1, 1, 1)
    mean, acceptance = restore(VAE.join(ppca.p, ppca.q), repeated, observation, 150, 100)
    return mean.unflatten(0, (CHAINS, -1)).mean(0).flatten(1), float(acceptance.mean())


@pytest.mark.parametrize("q", ["exact", "wrong"])
def test_missing_values_get_their_conditional_mean(q):
    ppca = ppca_with(q)
    observed = torch.tensor([True, False, False]).view(1, 1, 1, 3).expand_as(ppca.x)
    x = ppca.x.repeat(CHAINS, 1, 1, 1)
    start = torch.where(observed, ppca.x, 3.0)
    found, acceptance = by_chain(ppca, KnownPixels(x, observed.repeat(CHAINS, 1, 1, 1)), start)
    expected = torch.stack([conditional_mean(ppca, row, observed[0, 0, 0])[0] for row in ppca.x.flatten(1)])
    assert torch.equal(found[:, 0], ppca.x.flatten(1)[:, 0]) or torch.allclose(found[:, 0], ppca.x.flatten(1)[:, 0])
    assert torch.allclose(found, expected, atol=0.03)
    assert (expected - ppca.bias).abs().max() > 0.2  # not that of the mean image
    assert acceptance == pytest.approx(1.0) if q == "exact" else 0.3 < acceptance < 0.95


@pytest.mark.parametrize("q", ["exact", "wrong"])
def test_noisy_values_get_their_conditional_mean(q):
    """The sum over all that may have been replaced, by their probabilities."""
    share, density, ppca = 0.4, 0.1, ppca_with(q)
    noisy = ppca.x.clone()
    noisy[..., 1] = torch.tensor([3.0, -2.0, 0.5, 1.0]).view(4, 1, 1)
    expected = []
    for row in noisy.flatten(1):
        total, mean = 0.0, torch.zeros(3, dtype=row.dtype)
        for kept in product([True, False], repeat=3):
            conditional, log_p = conditional_mean(ppca, row, torch.tensor(kept))
            weight = math.prod(1 - share if k else share * density for k in kept) * math.exp(log_p)
            total, mean = total + weight, mean + weight * conditional
        expected.append(mean / total)
    found, _ = by_chain(ppca, NoisyPixels(noisy.repeat(CHAINS, 1, 1, 1), share, density), ppca.x)
    assert torch.allclose(found, torch.stack(expected), atol=0.08)
    assert (torch.stack(expected) - noisy.flatten(1)).abs().max() > 0.5


def test_without_the_correction_a_wrong_q_would_be_off(monkeypatch):
    """What the acceptance step is there for."""
    ppca = ppca_with("wrong")
    observed = torch.tensor([True, False, False]).view(1, 1, 1, 3).expand_as(ppca.x).repeat(CHAINS, 1, 1, 1)
    expected = torch.stack([conditional_mean(ppca, row, observed[0, 0, 0])[0] for row in ppca.x.flatten(1)])
    monkeypatch.setattr(torch.Tensor, "nan_to_num", lambda self, value: torch.ones_like(self))
    found, _ = by_chain(ppca, KnownPixels(ppca.x.repeat(CHAINS, 1, 1, 1), observed), ppca.x)
    assert not torch.allclose(found, expected, atol=0.1)

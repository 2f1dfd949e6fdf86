"""Distributions over vectors of codes."""

import math

import torch
from torch.distributions import Categorical, Independent, kl_divergence

from aevb.distributions.codes import Codes, PointMass, counts_of
from aevb.distributions.kl import sample_and_kl

VECTORS = torch.tensor([[0.0, 1.0], [2.0, 0.0], [-1.0, -1.0]])
LOGITS = torch.tensor([[0.1, 0.7, -0.4], [1.2, 0.0, 0.3]])


def prior() -> Codes:
    of_codes = Independent(Categorical(logits=LOGITS), 1)
    return Codes(of_codes, lambda k: VECTORS[k], lambda z: torch.cdist(z, VECTORS).argmin(-1), code_dim=2)


def posterior(codes: torch.Tensor) -> PointMass:
    return PointMass(VECTORS[codes].flatten(-2), codes, 3, VECTORS[codes])


def test_probabilities_are_those_of_the_codes() -> None:
    codes = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    probabilities = prior().log_prob(VECTORS[codes].flatten(-2)).exp()
    torch.testing.assert_close(probabilities, LOGITS.softmax(-1)[0][codes[:, 0]] * LOGITS.softmax(-1)[1][codes[:, 1]])
    torch.testing.assert_close(probabilities.sum(), torch.tensor(1.0))


def test_draws_have_the_probabilities_and_the_moments_of_the_codes() -> None:
    torch.manual_seed(0)
    z = prior().sample((20_000, 1))
    assert z.shape == (20_000, 1, 4)
    shares = (z[:, 0, :2].unsqueeze(1) == VECTORS).all(-1).float().mean(0)
    torch.testing.assert_close(shares, LOGITS.softmax(-1)[0], atol=0.02, rtol=0)
    torch.testing.assert_close(prior().mean, z[:, 0].mean(0), atol=0.35, rtol=0)
    torch.testing.assert_close(prior().variance, z[:, 0].var(0), atol=0.5, rtol=0)


def test_the_kl_is_the_code_length() -> None:
    codes = torch.tensor([[0, 2], [1, 1], [2, 0]])
    q, p = posterior(codes), prior()
    z, kl = sample_and_kl(q, p, 4)
    assert torch.equal(z, q.value.expand(4, 3, 4))
    torch.testing.assert_close(kl, -p.log_prob(q.value))
    assert torch.equal(kl, kl_divergence(q, p))
    torch.testing.assert_close(sample_and_kl(q, p, 4, "sampled")[1], kl)


def test_the_point_has_all_the_mass() -> None:
    q = posterior(torch.tensor([[0, 2], [1, 1]]))
    assert (q.batch_shape, q.event_shape) == ((2,), (4,))
    assert q.log_prob(q.sample((3,))).tolist() == [[0.0, 0.0]] * 3
    assert q.log_prob(q.value + 1).tolist() == [-math.inf] * 2
    assert torch.equal(q.mean, q.value)
    assert not q.variance.any()


def test_perplexity_is_the_number_of_codes_in_even_use() -> None:
    assert posterior(torch.tensor([[0, 2], [2, 0]])).perplexity().item() == 2
    assert posterior(torch.tensor([[1, 1]])).perplexity().item() == 1
    shares = torch.tensor([0.5, 0.25, 0.25])
    expected = Categorical(shares).entropy().exp()
    torch.testing.assert_close(posterior(torch.tensor([[0, 0], [1, 2]])).perplexity(), expected)
    assert counts_of(torch.tensor([[0, 0], [1, 2]]), 4).tolist() == [2, 1, 1, 0]

"""Topics that are known, and the perplexity of documents."""

from functools import partial

import pytest
import torch

from aevb import posteriors, priors
from aevb.likelihoods import Multinomial
from aevb.networks import MLPDecoder
from aevb.tasks import Topics

from ..small import small_model
from .known import run


def model_of_topics(topics: torch.Tensor):
    """Whose two topics have the given probabilities of words, (2, words)."""
    torch.manual_seed(0)
    vae = small_model(
        (1, 1, topics.shape[1]),
        likelihood=partial(Multinomial, mixture=True),
        decoder=partial(MLPDecoder, hidden=[]),
        posterior=posteriors.Dirichlet,
        prior=priors.Dirichlet,
    )
    with torch.no_grad():
        vae.p.head.layer.weight.copy_(topics.log().T)
        vae.p.head.layer.bias.zero_()
    return vae


class Named:
    value_names = ("cat", "dog", "tax", "law")


def test_words_of_topics_are_sorted_by_probability_and_named():
    vae = model_of_topics(torch.tensor([[0.6, 0.3, 0.06, 0.04], [0.01, 0.02, 0.5, 0.47]]))
    x = torch.tensor([[3.0, 1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 2.0]]).view(2, 1, 1, 4)
    found = run(Topics(words=2).of(Named()), vae, x)
    assert sorted(found.results["topics"]) == [["cat", "dog"], ["tax", "law"]]
    assert sum(found.results["shares"]) == pytest.approx(1)
    assert found.results["shares"][0] >= found.results["shares"][1]
    assert all(any(" ".join(topic) in line for line in found.words) for topic in found.results["topics"])
    assert sorted(run(Topics(words=1), vae, x).results["topics"]) == [["x[0]"], ["x[2]"]]


def test_perplexities_are_those_of_the_words():
    """Topics that are the same say nothing of x: then z is of no use, and p(word) does not depend on it."""
    p = torch.tensor([0.5, 0.25, 0.125, 0.125])
    vae = model_of_topics(p.repeat(2, 1))
    with torch.no_grad():  # q(z|x) = p(z), the uniform distribution
        vae.q.head.layer.weight.zero_()
        vae.q.head.layer.bias.copy_(torch.full((2,), 0.9).log() - torch.log1p(-torch.tensor(0.9 / 1e3)))
    x = torch.tensor([[4.0, 2.0, 1.0, 1.0], [8.0, 4.0, 2.0, 2.0]]).view(2, 1, 1, 4)
    found = run(Topics(), vae, x, train=None)
    entropy = -(p * p.log()).sum()
    assert found.results["perplexity"] == pytest.approx(float(entropy.exp()), abs=1e-3)
    assert found.results["elbo_per_word"] == pytest.approx(-float(entropy), abs=1e-3)
    smoothed = (torch.tensor([12.0, 6.0, 3.0, 3.0]) + 1) / 28
    assert found.results["unigram_perplexity"] == pytest.approx(float((-(p * smoothed.log()).sum()).exp()), rel=1e-5)


def test_models_without_topics_are_refused():
    with pytest.raises(ValueError, match="task=topics needs documents and z on the simplex, model=topics"):
        run(Topics(), small_model((1, 1, 4)), torch.ones(2, 1, 1, 4))

"""The multinomial likelihood against scipy, and latent Dirichlet allocation against its exact marginal."""

import itertools
from functools import partial

import hydra
import numpy as np
import pytest
import scipy.stats
import torch
from hydra.core.global_hydra import GlobalHydra
from torch import nn

from aevb import posteriors, priors
from aevb.likelihoods import Multinomial
from aevb.networks import MLPDecoder
from aevb.objectives.base import elbo
from aevb.vae import GenerativeModel, RecognitionModel

from ..posteriors.test_constrained import Exact, raw
from ..small import small_model
from .test_all_settings import MODELS

SHAPE = (1, 2, 3)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("mixture", [False, True])
def test_probabilities_are_scipys(mixture):
    head = Multinomial((4,), SHAPE, mixture=mixture, length=7).double()
    h = torch.rand(2, 5, 4).double()
    h = h / h.sum(-1, keepdim=True)
    p = head(h)
    assert (p.batch_shape, p.event_shape) == ((2, 5), SHAPE)
    with torch.no_grad():
        if mixture:
            topics = (head.layer.weight.T + head.layer.bias).softmax(-1)
            probabilities = torch.einsum("sbk,kv->sbv", h, topics)
        else:
            probabilities = head.layer(h).softmax(-1)
    x = torch.randint(6, (5, *SHAPE)).double()
    counts = x.flatten(1).numpy().astype(int)
    expected = [
        [scipy.stats.multinomial(c.sum(), each.numpy()).logpmf(c) for c, each in zip(counts, of_sample, strict=True)]
        for of_sample in probabilities
    ]
    assert np.allclose(p.log_prob(x).detach(), expected)
    assert torch.allclose(p.mean.flatten(-3), 7 * probabilities)
    draws = p.sample((4000,))
    assert draws.shape == (4000, 2, 5, *SHAPE)
    assert (draws.flatten(-3).sum(-1) == 7).all()
    assert ((draws.mean(0) - p.mean).abs() < 5 * draws.std(0) / 4000**0.5 + 1e-9).all()


def test_probabilities_of_a_length_sum_to_one():
    p = Multinomial((2,), (1, 1, 3)).double()(torch.randn(1, 1, 2).double())
    counts = [c for c in itertools.product(range(5), repeat=3) if sum(c) == 4]
    x = torch.tensor(counts).double().view(-1, 1, 1, 3)
    assert float(p.log_prob(x).detach().exp().sum()) == pytest.approx(1)


def test_a_feature_map_gives_logits():
    head = Multinomial((5, 2, 3), SHAPE)
    p = head(torch.randn(2, 4, 5, 2, 3))
    assert torch.allclose(p.mean.sum((-3, -2, -1)), torch.full((2, 4), 100.0))
    assert p.log_prob(torch.ones(4, *SHAPE)).shape == (2, 4)


@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("mixture", [False, True])
def test_values_and_gradients_are_finite(mixture, scale):
    head = Multinomial((4,), SHAPE, mixture=mixture)
    with torch.no_grad():
        head.layer.weight.mul_(scale)
    p = head(torch.eye(4).unsqueeze(0))
    log_prob = p.log_prob(torch.tensor([0.0, 1.0, 7.0, 1e5]).view(4, 1, 1, 1).expand(4, *SHAPE))
    log_prob.sum().backward()
    assert log_prob.isfinite().all()
    assert p.sample().isfinite().all()
    assert all(weight.grad.isfinite().all() for weight in head.parameters())


def test_with_conjugate_parts_the_elbo_is_log_p_of_x():
    """Topics of one word each: x is Dirichlet-multinomial, and p(z|x) a Dirichlet distribution."""
    x = torch.tensor([[0.0, 2.0, 4.0], [1.0, 5.0, 0.0], [0.0, 0.0, 0.0]]).double().view(3, 1, 1, 3)
    head = Multinomial((3,), (1, 1, 3), mixture=True).double()
    with torch.no_grad():
        head.layer.weight.copy_(60 * torch.eye(3))
        head.layer.bias.zero_()
    posterior = posteriors.Dirichlet(1, 3)
    exact = torch.tensor([raw((0.75 + row).tolist()) for row in x.flatten(1)], dtype=torch.float64)
    p = GenerativeModel(priors.Dirichlet(3, alpha=0.75).double(), nn.Identity(), head)
    q = RecognitionModel(x.shape[1:], nn.Identity(), Exact(lambda x: posterior.distribution(exact)))
    counts = x.flatten(1).numpy().astype(int)
    expected = [scipy.stats.dirichlet_multinomial([0.75] * 3, each.sum()).logpmf(each) for each in counts]
    assert np.allclose(elbo(p, q, x, kl="sampled").elbo.detach(), expected, atol=1e-9)
    analytic = torch.stack([elbo(p, q, x, 100).elbo for _ in range(100)]).detach()
    assert ((analytic.mean(0) - torch.tensor(expected)).abs() < 5 * analytic.std(0) / 10 + 1e-9).all()


def test_a_mixture_needs_z_on_the_simplex_and_no_layers():
    topics = partial(Multinomial, mixture=True)
    simplex = {"posterior": posteriors.Dirichlet, "prior": priors.Dirichlet}
    bare = partial(MLPDecoder, hidden=[])
    vae = small_model(SHAPE, likelihood=topics, decoder=bare, **simplex)
    assert vae.elbo(torch.ones(2, *SHAPE)).isfinite().all()
    for parts in ({"decoder": bare}, simplex):
        with pytest.raises(ValueError, match=r"model/prior=dirichlet, and .* model\.decoder\.hidden=\[\]$"):
            small_model(SHAPE, likelihood=topics, **parts)


@pytest.mark.parametrize(("name", "mixture"), [("multinomial", False), ("topics", True)])
def test_the_files_of_models_make_it(name, mixture):
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(MODELS), version_base="1.3"):
        config = hydra.compose(name).likelihood
    head = hydra.utils.instantiate(config)((3,), (1, 2, 2))
    assert isinstance(head, Multinomial)
    assert (head.mixture, head.length) == (mixture, 100)


def test_data_that_are_no_counts_are_refused():
    with pytest.raises(ValueError, match=r"likelihood Multinomial needs data in whole numbers from 0, got 0\.5 among"):
        Multinomial((3,), SHAPE).check(torch.full((2, *SHAPE), 0.5))

"""The mixture of Gaussians and the VampPrior."""

import copy
import math
from functools import partial

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

from aevb import priors
from aevb.likelihoods import Bernoulli
from aevb.networks import MLPDecoder
from aevb.posteriors import DiagonalGaussian, InverseAutoregressiveFlow
from aevb.vae import VAE, GenerativeModel

from .cases import DATA_SHAPE, make, recognition


def test_mixture_is_scipys_sum():
    prior = make("mixture", 3)
    nn.init.normal_(prior.logits)
    nn.init.normal_(prior.log_variances)
    weights = prior.logits.softmax(0).tolist()
    parts = [
        weight * scipy.stats.multivariate_normal(mean, np.diag(np.exp(log_variance))).pdf(np.ones((1, 3)))
        for weight, mean, log_variance in zip(
            weights, prior.means.detach().numpy(), prior.log_variances.detach().numpy(), strict=True
        )
    ]
    assert prior().log_prob(torch.ones(3, dtype=torch.float64)).item() == pytest.approx(math.log(sum(parts)))


def test_mixture_starts_with_unit_variance():
    torch.manual_seed(0)
    prior = priors.MixtureOfGaussians(50, num_components=200)()
    assert prior.variance.mean().item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("head", [DiagonalGaussian, partial(InverseAutoregressiveFlow, hidden=[8], context=4)])
def test_vamp_prior_is_the_mean_of_the_posteriors_of_its_pseudo_inputs(head):
    torch.manual_seed(0)
    prior, q = priors.VampPrior(2, num_components=5), recognition(head=head)
    prior.connect(None, q)
    prior.double()
    z = torch.randn(3, 4, 2, dtype=torch.float64)
    inputs = prior.pseudo_inputs()
    densities = [q(inputs[k : k + 1]).log_prob(z).exp() for k in range(5)]
    assert torch.allclose(prior().log_prob(z), torch.stack(densities).mean(0).log())


def test_vamp_priors_gradient_reaches_pseudo_inputs_and_recognition_model():
    torch.manual_seed(0)
    prior, q = priors.VampPrior(2, num_components=5), recognition()
    prior.connect(None, q)
    prior.double()().log_prob(torch.randn(3, 4, 2, dtype=torch.float64)).sum().backward()
    assert (prior.logit_inputs.grad != 0).all()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in q.parameters())


def test_pseudo_inputs_stay_within_the_data():
    prior = priors.VampPrior(2, num_components=5)
    prior.connect(None, recognition())
    prior.adapt_to(-3.0, 20.0)
    nn.init.normal_(prior.logit_inputs, std=50)
    inputs = prior.pseudo_inputs()
    assert inputs.shape == (5, *DATA_SHAPE)
    assert -3 <= inputs.min() < 0
    assert 10 < inputs.max() <= 20


def with_vamp_prior() -> VAE:
    decoder = MLPDecoder(2, DATA_SHAPE, hidden=[8])
    prior = priors.VampPrior(2, num_components=5)
    p = GenerativeModel(prior, decoder, Bernoulli(decoder.out_shape, DATA_SHAPE))
    return VAE.join(p, recognition().float())


def test_vamp_prior_does_not_own_the_recognition_model():
    both = with_vamp_prior()
    names = [name for name, _ in both.named_parameters(remove_duplicate=False)]
    assert len({id(parameter) for parameter in both.parameters()}) == len(names)
    assert [name for name in both.state_dict() if name.startswith("p.prior")] == [
        "p.prior.logit_inputs",
        "p.prior.range",
    ]
    assert not {id(w) for w in both.p.parameters()} & {id(w) for w in both.q.parameters()}


def test_copy_of_a_model_with_a_vamp_prior_uses_its_own_recognition_model():
    both = with_vamp_prior()
    copied = copy.deepcopy(both)
    z = torch.randn(3, 2)
    before = both.p.prior().log_prob(z)
    assert torch.equal(copied.p.prior().log_prob(z), before)
    for parameter in copied.q.parameters():
        nn.init.normal_(parameter)
    assert torch.equal(both.p.prior().log_prob(z), before)
    assert not torch.allclose(copied.p.prior().log_prob(z), before)


def test_weights_of_a_model_with_a_vamp_prior_can_be_loaded():
    source, target = with_vamp_prior(), with_vamp_prior()
    target.load_state_dict(source.state_dict())
    z = torch.randn(3, 2)
    assert torch.equal(source.p.prior().log_prob(z), target.p.prior().log_prob(z))


def test_vamp_prior_needs_the_recognition_model():
    with pytest.raises(RuntimeError, match="needs the recognition model"):
        priors.VampPrior(2)()


def test_pseudo_inputs_can_start_at_datapoints():
    torch.manual_seed(0)
    prior = priors.VampPrior(2, num_components=40)
    prior.connect(None, recognition())
    prior.adapt_to(-1.0, 3.0)
    x = torch.tensor([-1.0, 0.5, 3.0]).view(3, 1, 1, 1).expand(3, *DATA_SHAPE)
    prior.start_at(x)
    inputs = prior.pseudo_inputs()
    expected = torch.tensor([-0.8, 0.5, 2.8])
    distance = (inputs.detach().flatten(1)[:, :, None] - expected).abs().amin(1)
    assert (distance.amin(-1) < 1e-5).all()
    assert inputs.requires_grad
    assert len(inputs.detach().mean((1, 2, 3)).round(decimals=3).unique()) == 3

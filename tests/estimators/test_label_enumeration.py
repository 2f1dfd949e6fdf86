"""log p(x) of models of labels by a sum over them, against quadrature over z."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli as TorchBernoulli

from aevb.errors import ConfigError
from aevb.estimators import ImportanceSampling, LabelEnumeration
from aevb.likelihoods import Bernoulli
from aevb.networks import MLPDecoder, MLPEncoder
from aevb.posteriors import DiagonalGaussian
from aevb.priors import StandardNormal
from aevb.vae import VAE

from ..small import small_model

X = torch.tensor([*itertools.product([0.0, 1.0], repeat=3)]).double().reshape(8, 1, 1, 3)
LABELS = torch.eye(3).double()[torch.arange(8) % 3]


@pytest.fixture
def vae() -> VAE:
    """One latent variable, given one of three labels."""
    torch.manual_seed(0)
    encoder, decoder = (partial(kind, hidden=[4], condition_shape=(3,)) for kind in (MLPEncoder, MLPDecoder))
    heads = (DiagonalGaussian, StandardNormal)
    model = VAE(1, (1, 1, 3), encoder, *heads, decoder, Bernoulli, initialization_std=1.0, condition_shape=(3,))
    return model.double()


@torch.no_grad()
def by_quadrature(vae: VAE) -> Tensor:
    """log p(x|y) of all x and labels, (8, 3), by Gauss and Hermite's rule for z ~ N(0, 1)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    z, log_weights = torch.tensor(nodes).view(-1, 1), torch.tensor(weights / weights.sum()).log()
    values = []
    for y in torch.eye(3).double():
        logits = vae.p.head.layer(vae.p.decoder(z, c=y.expand(len(z), -1)))
        log_p = TorchBernoulli(logits=logits.unsqueeze(1)).log_prob(X.flatten(1)).sum(-1)
        values.append((log_p + log_weights.unsqueeze(1)).logsumexp(0))
    return torch.stack(values, -1)


@pytest.mark.parametrize("rows", [100, 100_000])
def test_it_is_the_mean_over_labels_within_its_noise(vae: VAE, rows: int) -> None:
    expected = by_quadrature(vae).logsumexp(-1) - math.log(3)
    assert float(expected.exp().sum()) == pytest.approx(1)  # x has 8 values
    found = LabelEnumeration(5000).estimate(vae.given(LABELS, 8), X, rows)
    assert float((found.value - expected).abs().max()) < 0.05
    errors = (found.value - expected) / found.variance.sqrt()
    assert float(errors.abs().max()) < 4
    assert 0.2 < float(errors.square().mean()) < 3


def test_the_noise_is_what_it_says(vae: VAE) -> None:
    found = [LabelEnumeration(200).estimate(vae.given(LABELS, 8), X, 10_000) for _ in range(200)]
    spread = torch.stack([each.value for each in found]).var(0)
    said = torch.stack([each.variance for each in found]).mean(0)
    assert torch.allclose(spread, said, rtol=0.5)


def test_labels_of_datapoints_do_not_matter(vae: VAE) -> None:
    values = []
    for labels in (LABELS, LABELS.roll(1, 0)):
        torch.manual_seed(0)
        values.append(LabelEnumeration(10).estimate(vae.given(labels, 8), X, 1000).value)
    assert torch.equal(*values)
    torch.manual_seed(0)
    given = ImportanceSampling(10).estimate(vae.given(LABELS, 8), X, 1000).value
    assert not torch.allclose(values[0], given)


def test_it_is_of_x_alone(vae: VAE) -> None:
    assert ImportanceSampling().quantity(vae) == "log p(x|c)"
    assert LabelEnumeration().quantity(vae) == "log p(x)"


def test_few_effective_samples_are_said(vae: VAE) -> None:
    found = LabelEnumeration(5).estimate(vae.given(LABELS, 8), X, 1000)
    (warning,) = LabelEnumeration(5).warnings(found)
    assert "raise estimators.label_enumeration.num_samples" in warning


def test_models_without_labels_are_refused(vae: VAE) -> None:
    message = r"^estimators=\[label_enumeration\] needs a model given one-hot labels"
    with pytest.raises(ConfigError, match=message):
        LabelEnumeration().estimate(small_model((1, 1, 3)).double(), X, 1000)
    with pytest.raises(ConfigError, match=message):
        LabelEnumeration().estimate(vae.given(0.3 * LABELS, 8), X, 1000)

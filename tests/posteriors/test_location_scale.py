"""Laplace and logistic posteriors."""

import numpy as np
import pytest
import scipy.stats
import torch

from .heads import features, make


@pytest.mark.parametrize(("name", "reference"), [("laplace", scipy.stats.laplace), ("logistic", scipy.stats.logistic)])
def test_laplace_and_logistic_are_scipys(name, reference):
    head, h = make(name), features()
    loc, log_scale = (h @ head.layer.weight.T + head.layer.bias).detach().chunk(2, -1)
    expected = reference(loc, log_scale.exp())
    z = 5 * torch.randn(4, 3, 2, dtype=torch.float64)
    posterior = head(h)
    assert np.allclose(posterior.log_prob(z).detach(), expected.logpdf(z).sum(-1))
    assert np.allclose(posterior.variance.detach(), expected.var())
    assert np.allclose(posterior.entropy().detach(), expected.entropy().sum(-1))

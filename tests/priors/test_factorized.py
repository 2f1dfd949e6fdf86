"""Priors of independent dimensions."""

import numpy as np
import pytest
import scipy.stats
import torch

from aevb import priors


@pytest.mark.parametrize(
    ("prior", "reference"),
    [
        (priors.StandardNormal(3), scipy.stats.norm()),
        (priors.Laplace(3, scale=0.7), scipy.stats.laplace(scale=0.7)),
        (priors.StudentT(3, degrees_of_freedom=4, scale=0.7), scipy.stats.t(4, scale=0.7)),
    ],
)
def test_fixed_priors_are_scipys(prior, reference):
    z = 4 * torch.randn(5, 2, 3)
    assert np.allclose(prior().log_prob(z), reference.logpdf(z).sum(-1), rtol=1e-5)
    assert not list(prior.parameters())

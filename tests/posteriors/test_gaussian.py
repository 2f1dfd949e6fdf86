"""Gaussian posteriors."""

import numpy as np
import pytest
import scipy.stats
import torch

from .heads import features, make


def test_diagonal_gaussian_is_scipys():
    head = make("diagonal_gaussian")
    h = features()
    mean, log_variance = (h @ head.layer.weight.T + head.layer.bias).detach().chunk(2, -1)
    z = torch.randn(4, 3, 2, dtype=torch.float64)
    expected = scipy.stats.norm(mean, np.exp(0.5 * log_variance.numpy())).logpdf(z).sum(-1)
    assert np.allclose(head(h).log_prob(z).detach(), expected)


@pytest.mark.parametrize("name", ["full_gaussian", "low_rank_gaussian"])
def test_correlated_gaussians_are_scipys(name):
    """With the covariance put together here from the formula in the docstring."""
    head, h = make(name, latent_dim=4, scale=0.6), features()
    parameters = (h @ head.layer.weight.T + head.layer.bias).detach()
    posterior = head(h)
    z = torch.randn(2, 3, 4, dtype=torch.float64)
    for i in range(3):
        mean, scale, rest = parameters[i, :4], parameters[i, 4:8].mul(0.5).exp().diag(), parameters[i, 8:]
        if name == "full_gaussian":
            factor = torch.eye(4, dtype=torch.float64)
            factor[np.tril_indices(4, -1)] = rest / 2
            covariance = scale @ factor @ factor.T @ scale
        else:
            directions = rest.view(4, 2)
            covariance = scale @ (torch.eye(4) + directions @ directions.T / 2) @ scale
        expected = scipy.stats.multivariate_normal(mean, covariance).logpdf(z[:, i])
        assert np.allclose(posterior.log_prob(z)[:, i].detach(), expected)
        assert torch.allclose(posterior.covariance_matrix[i].detach(), covariance)

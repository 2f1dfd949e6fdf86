"""Probabilistic PCA, whose log p(x) is known, and the comparison of estimates with it."""

import pytest
import torch

from aevb.data import Split
from aevb.estimators import Estimator
from aevb.estimators.runner import run
from aevb.vae import VAE

from ..ppca import PPCA, make_ppca

LIMIT = 4.0
"""Standard errors; one comparison in 16,000 is further off by chance."""


@pytest.fixture(scope="module")
def ppca() -> PPCA:
    """With a q that is nearly right: somewhat off its place, and a little too wide."""
    ppca = make_ppca(latent_dim=2, data_dim=5, num_data=30, orthogonal=True)
    ppca.use_exact_posterior()
    with torch.no_grad():
        ppca.q.head.layer.bias += torch.tensor([0.3, -0.2, 0.3, 0.4])
    ppca.p.requires_grad_(False)
    return ppca


def found(estimator: Estimator, ppca: PPCA, rows: int = 10_000):
    return run(estimator, VAE.join(ppca.p, ppca.q), Split(ppca.x), rows)[0]


def assert_within_errors(estimates, exact, limit: float = LIMIT) -> None:
    assert estimates.standard_error < 0.1
    assert abs(estimates.mean - float(exact.mean())) < limit * estimates.standard_error
    off = (estimates.value - exact) / estimates.variance.sqrt()
    assert float(off.abs().max()) < limit + 1.5  # the largest of thirty
    assert 0.3 < float(off.square().mean()) < 2.2  # the errors are neither too small nor too large

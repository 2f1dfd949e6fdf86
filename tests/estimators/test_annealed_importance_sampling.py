"""Annealed importance sampling against probabilistic PCA, and where it fails with a warning."""

import pytest

from aevb.estimators import AnnealedImportanceSampling

from ..ppca import make_ppca
from .conftest import assert_within_errors, found


@pytest.mark.parametrize("start", ["posterior", "prior"])
def test_annealed_importance_sampling_is_exact_within_its_errors(ppca, start):
    estimator = AnnealedImportanceSampling(num_chains=200, num_temperatures=20, start=start)
    estimates = found(estimator, ppca)
    assert_within_errors(estimates, ppca.log_marginal(ppca.x))
    assert 0.5 < float(estimates.diagnostics["acceptance"].mean()) < 0.9
    assert estimator.warnings(estimates) == []


def test_annealing_needs_no_good_encoder():
    """Where importance sampling from q fails, see below."""
    wrong = make_ppca(latent_dim=2, data_dim=5, num_data=30)
    estimates = found(AnnealedImportanceSampling(num_chains=100, num_temperatures=100, start="prior"), wrong)
    assert_within_errors(estimates, wrong.log_marginal(wrong.x).detach())


def test_annealing_fails_with_a_warning_where_there_are_few_temperatures():
    wrong = make_ppca(latent_dim=6, data_dim=20, num_data=10, sigma=0.1)
    estimator = AnnealedImportanceSampling(num_chains=20, num_temperatures=3, start="prior")
    estimates = found(estimator, wrong)
    assert estimates.mean < float(wrong.log_marginal(wrong.x).mean().detach()) - 10
    warnings = estimator.warnings(estimates)
    assert warnings[0].startswith("the effective sample size is below 6 for 100% of the datapoints")
    assert "estimators.annealed_importance_sampling.num_temperatures" in warnings[0]

"""The logistic distribution."""

import numpy as np
import pytest
import scipy.stats
import torch

from aevb.distributions.logistic import LogisticDistribution


def test_logistic_distribution_is_scipys():
    logistic, reference = LogisticDistribution(0.5, 2.0), scipy.stats.logistic(0.5, 2.0)
    z = torch.linspace(-200, 200, 41)
    assert np.allclose(logistic.log_prob(z), reference.logpdf(z), rtol=1e-5)
    u = torch.linspace(0.01, 0.99, 25)
    assert np.allclose(logistic.icdf(u), reference.ppf(u), rtol=1e-4, atol=1e-5)
    torch.manual_seed(0)
    assert scipy.stats.kstest(logistic.sample((5000,)), reference.cdf).pvalue > 1e-3
    with pytest.raises(ValueError, match="scale"):
        LogisticDistribution(0.0, -1.0, validate_args=True)

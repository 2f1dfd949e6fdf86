"""What all estimators of log p(x) have in common."""

import pytest
import torch

from aevb.estimators import ELBO, AnnealedImportanceSampling, ImportanceSampling, PosteriorHMC

from ..ppca import make_ppca
from .conftest import LIMIT, found

SHORT_AIS = AnnealedImportanceSampling(num_chains=7, num_temperatures=3)
SHORT_HMC = PosteriorHMC(num_chains=4, num_samples=3, burn_in=2)


def test_bounds_are_ordered(ppca):
    """ELBO ≤ IWAE-2 ≤ IWAE-20 ≤ IWAE-2000 ≤ log p(x), with gaps above the noise."""
    repeated = ppca._replace(x=ppca.x.repeat(50, 1, 1, 1))
    estimates = [found(ELBO(num_samples=20), repeated)]
    estimates += [found(ImportanceSampling(num_samples=k), repeated) for k in (2, 20, 2000)]
    exact = float(ppca.log_marginal(ppca.x).mean())
    assert [e.mean for e in estimates] == sorted(e.mean for e in estimates)
    assert estimates[1].mean - estimates[0].mean > LIMIT * estimates[0].standard_error
    assert estimates[-1].mean < exact + LIMIT * estimates[-1].standard_error
    assert estimates[-1].mean > exact - 0.05


@pytest.mark.parametrize("estimator", [PosteriorHMC, AnnealedImportanceSampling])
def test_poor_acceptance_gives_a_warning(estimator):
    reluctant = estimator(target_acceptance=0.1)
    wrong = make_ppca(latent_dim=2, data_dim=5, num_data=30)
    assert any("HMC accepts" in warning for warning in reluctant.warnings(found(reluctant, wrong)))


@pytest.mark.parametrize("estimator", [ELBO(num_samples=7), ImportanceSampling(num_samples=50), SHORT_AIS, SHORT_HMC])
def test_memory_bound_changes_no_shapes(ppca, estimator):
    for rows in (1, 64, 10**6):
        estimates = found(estimator, ppca._replace(x=ppca.x[:6]), rows)
        assert estimates.value.shape == estimates.variance.shape == (6,)
        assert estimates.value.isfinite().all()
        assert estimates.value.dtype == torch.float64


def test_bad_settings_name_their_key():
    with pytest.raises(ValueError, match=r"^num_samples must be .* got 0"):
        ImportanceSampling(num_samples=0)
    with pytest.raises(ValueError, match=r"^num_samples must be a whole number of at least 2"):
        ELBO(num_samples=1)

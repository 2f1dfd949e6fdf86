"""The ELBO against probabilistic PCA, where it is known."""

from aevb.estimators import ELBO

from .conftest import assert_within_errors, found


def test_elbo_is_exact_within_its_errors(ppca):
    assert_within_errors(found(ELBO(num_samples=500), ppca), ppca.elbo(ppca.x).detach())

"""Chunks of an evaluation, and their noise."""

import pytest
import torch

from aevb.data import Split
from aevb.estimators import ImportanceSampling
from aevb.estimators.runner import rows_at_once, run, values_per_sample
from aevb.vae import VAE

from ..ppca import make_ppca
from ..small import pair, small_model


@pytest.fixture(scope="module")
def ppca():
    return make_ppca(num_data=20)


def test_noise_depends_on_the_seed(ppca):
    model, estimator = VAE.join(ppca.p, ppca.q), ImportanceSampling(num_samples=10)
    a, b, c = (run(estimator, model, Split(ppca.x), 100, seed)[0].value for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_rows_follow_the_largest_layer():
    p, _ = pair(small_model((1, 4, 4), hidden=50))
    assert values_per_sample(p) == 50
    assert rows_at_once(p, 1000) == 20
    assert rows_at_once(p, 1) == 1
    assert rows_at_once(small_model((3, 20, 20)).p, 12000) == 10
    with pytest.raises(ValueError, match=r"^max_batch_values must be"):
        rows_at_once(p, 0)

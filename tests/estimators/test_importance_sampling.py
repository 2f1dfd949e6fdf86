"""Importance sampling against probabilistic PCA, and where it fails with a warning."""

from functools import partial

import pytest
import torch

from aevb.estimators import ImportanceSampling
from aevb.likelihoods import Bernoulli, Gaussian
from aevb.networks import MLPDecoder, MLPEncoder
from aevb.posteriors import DiagonalGaussian, FullGaussian
from aevb.priors import StandardNormal
from aevb.vae import VAE

from ..codes import code_model
from ..ppca import make_ppca
from .conftest import assert_within_errors, found


def test_importance_sampling_is_exact_within_its_errors(ppca):
    assert_within_errors(found(ImportanceSampling(num_samples=20_000), ppca), ppca.log_marginal(ppca.x).detach())


def test_exact_posterior_leaves_no_noise():
    ppca = make_ppca(latent_dim=2, data_dim=5, orthogonal=True)
    ppca.use_exact_posterior()
    estimates = found(ImportanceSampling(num_samples=3), ppca)
    assert torch.allclose(estimates.value, ppca.log_marginal(ppca.x))
    assert torch.allclose(estimates.diagnostics["effective_sample_size"], torch.full((4,), 3.0, dtype=torch.float64))
    assert estimates.standard_error < 1e-6
    assert ImportanceSampling(num_samples=3).warnings(estimates)  # three are few, however good


def test_importance_sampling_fails_with_a_warning_where_q_is_far_off(ppca):
    wrong = make_ppca(latent_dim=2, data_dim=5, num_data=30)
    estimator = ImportanceSampling(num_samples=200)
    estimates = found(estimator, wrong)
    assert estimates.mean < float(wrong.log_marginal(wrong.x).mean().detach()) - 10 * estimates.standard_error
    (warning,) = estimator.warnings(estimates)
    assert warning.startswith("the effective sample size is below 10 for")
    assert "estimators.importance_sampling.num_samples" in warning
    assert estimator.warnings(found(estimator, ppca)) == []


@pytest.mark.parametrize("likelihood", [Bernoulli, Gaussian])
@pytest.mark.parametrize("posterior", [DiagonalGaussian, FullGaussian])
@pytest.mark.parametrize("hidden", [[], [6], [6, 5]])
def test_values_are_those_of_the_models_own_densities(likelihood, posterior, hidden):
    torch.manual_seed(0)
    model = VAE(
        3,
        (1, 4, 2),
        partial(MLPEncoder, hidden=[5]),
        posterior,
        StandardNormal,
        partial(MLPDecoder, hidden=hidden),
        likelihood,
        "xavier",
    )
    x = torch.rand(6, 1, 4, 2)
    torch.manual_seed(1)
    estimates = ImportanceSampling(num_samples=40).estimate(model, x, 1000)
    torch.manual_seed(1)
    with torch.no_grad():
        q = model.q(x)
        z = q.sample((40,))
        log_weights = model.p.log_joint(x, z) - q.log_prob(z)
    assert torch.allclose(estimates.value.float(), log_weights.logsumexp(0) - torch.tensor(40.0).log(), atol=1e-4)


def test_all_draws_of_a_point_mass_are_one():
    """The posterior of discrete codes has one value of z: a bound, below log p(x) by enumeration of all 5⁴ codes."""
    torch.manual_seed(0)
    vae, x = code_model(), torch.rand(3, 1, 4, 4).round()
    codes = torch.cartesian_prod(*4 * [torch.arange(5)])
    with torch.no_grad():
        z = vae.p.prior.quantizer.vectors(codes).flatten(-2).unsqueeze(1).expand(-1, 3, -1)
        exact = vae.p.log_joint(x, z).logsumexp(0)
    estimator = ImportanceSampling(num_samples=20)
    estimates = estimator.estimate(vae, x, 100)
    assert torch.allclose(estimates.value.float(), vae.elbo(x), atol=1e-4)
    assert (estimates.value < exact - 0.1).all()
    assert (estimates.diagnostics["effective_sample_size"] == 1).all()
    assert estimator.warnings(estimates)

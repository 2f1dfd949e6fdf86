"""The local ELBO against probabilistic PCA, whose best posterior of each family is known."""

from functools import partial

import pytest
import torch
from torch import Tensor

from aevb.estimators import LocalELBO
from aevb.networks.layered import FirstLayer
from aevb.networks.mlp import MLPDecoder
from aevb.posteriors import FullGaussian, Ladder
from aevb.priors import Hierarchical
from aevb.vae import VAE, RecognitionModel

from ..ppca import PPCA, make_ppca
from ..small import small_model
from .conftest import LIMIT, found


def correlated() -> PPCA:
    """A posterior of two correlated dimensions, and an encoder that is wrong."""
    return make_ppca(latent_dim=2, data_dim=4, num_data=20, sigma=0.6, seed=3)


def approximation_gap(ppca: PPCA) -> Tensor:
    """KL of the best diagonal Gaussian to p(z|x) of precision Λ: ½ (Σ_j log Λ_jj − log det Λ)."""
    precision = torch.eye(2, dtype=torch.float64) + ppca.weight.T @ ppca.weight / ppca.sigma**2
    return (0.5 * (precision.diag().log().sum() - precision.logdet())).detach()


def assert_gap(estimator: LocalELBO, ppca: PPCA, expected: float) -> None:
    estimates = found(estimator, ppca)
    gap = float(ppca.log_marginal(ppca.x).mean().detach()) - estimates.mean
    assert abs(gap - expected) < LIMIT * estimates.standard_error + 0.01
    assert not estimator.warnings(estimates)


@pytest.mark.parametrize("family", ["encoder", "diagonal_gaussian"])
def test_gap_of_the_best_diagonal_gaussian_is_the_closed_form(family: str) -> None:
    ppca = correlated()
    expected = float(approximation_gap(ppca))
    assert expected > 0.1
    assert float((ppca.log_marginal(ppca.x) - ppca.elbo(ppca.x)).mean().detach()) > expected + 0.5
    assert_gap(LocalELBO(family=family, final_samples=1000), ppca, expected)


def test_full_covariance_has_no_approximation_gap() -> None:
    ppca = correlated()
    assert_gap(LocalELBO(family="full_gaussian", final_samples=1000), ppca, 0.0)
    head = FullGaussian(4, 2).double()
    other = ppca._replace(q=RecognitionModel((1, 1, 4), ppca.q.encoder, head).double())
    assert_gap(LocalELBO(num_steps=500, final_samples=1000), other, 0.0)


def test_flow_contains_correlated_gaussians() -> None:
    ppca = correlated()
    estimates = found(LocalELBO(family="flow", final_samples=1000), ppca)
    gap = float(ppca.log_marginal(ppca.x).mean().detach()) - estimates.mean
    assert -LIMIT * estimates.standard_error < gap < 0.5 * float(approximation_gap(ppca))


def test_weights_of_the_model_do_not_change() -> None:
    ppca = correlated()
    before = [weight.clone() for weight in ppca.p.parameters()]
    found(LocalELBO(num_steps=3), ppca)
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(before, ppca.p.parameters(), strict=True))


def test_of_several_layers_the_features_are_optimized() -> None:
    layers = {"latent_dims": (3, 2)}
    vae = small_model(
        (1, 4, 4),
        latent_dim=5,
        posterior=partial(Ladder, **layers),
        prior=partial(Hierarchical, **layers),
        decoder=partial(FirstLayer, decoder=MLPDecoder, **layers),
    )
    torch.manual_seed(0)
    x = torch.rand(6, 1, 4, 4).bernoulli()
    estimates = LocalELBO(num_steps=100).estimate(vae, x, 1000)
    assert (estimates.value > vae.elbo(x, 500)).all()


def test_unfinished_optimization_is_said() -> None:
    estimator = LocalELBO(num_steps=100, learning_rate=0.01)
    (warning,) = estimator.warnings(found(estimator, correlated()))
    assert "raise estimators.local_elbo.num_steps" in warning


def test_parameters_may_have_no_gradients() -> None:
    ppca = correlated()
    vae = VAE.join(ppca.p.requires_grad_(False), ppca.q.requires_grad_(False))
    assert LocalELBO(num_steps=2).estimate(vae, ppca.x, 100).value.isfinite().all()

"""A prior that is fitted to an aggregate posterior that is known."""

import math
from functools import partial

import pytest
import torch

from aevb import posteriors, priors
from aevb.data.module import Split
from aevb.networks import EMACodebook
from aevb.tasks import FitPrior

from ..codes import QUANTIZERS, SMALL, code_model
from ..small import small_model
from .known import collapsed_model, normal_data, run

FAST = {"num_steps": 300, "learning_rate": 0.03}


def test_a_gaussian_prior_gains_its_divergence_from_the_aggregate_posterior():
    """½ (m² + v − 1 − log v) of each dimension of q(z), which is N(m, v) in two of them and N(0, 1) in the others."""
    vae, x = collapsed_model(active=2, spread=2.0, std=0.2), normal_data(4000)
    before = {name: weight.clone() for name, weight in vae.state_dict().items()}
    found = run(FitPrior(partial(priors.MixtureOfGaussians, num_components=1), 1000, learning_rate=0.03), vae, x)
    moments = [(float(z.mean()), float(z.var()) + 0.04) for z in 2 * x.flatten(1)[:, :2].T]
    expected = sum(0.5 * (m**2 + v - 1 - math.log(v)) for m, v in moments)
    assert expected > 1.5
    assert found.results["gain"] == pytest.approx(expected, abs=0.03)
    assert found.results["elbo_after"] - found.results["elbo_before"] == pytest.approx(found.results["gain"])
    prior = found.model.p.prior
    assert torch.allclose(prior().variance[:2], torch.tensor([v for _, v in moments]).double(), rtol=0.1)
    after = found.model.state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())


@pytest.mark.parametrize(
    "prior",
    [
        partial(priors.MixtureOfGaussians, num_components=8),
        partial(priors.VampPrior, num_components=8),
        partial(priors.Flow, hidden=[16]),
    ],
)
def test_every_prior_with_parameters_can_be_fitted(prior):
    torch.manual_seed(0)
    vae = small_model((1, 2, 5), latent_dim=2)
    with torch.no_grad():
        vae.q.head.layer.weight.mul_(20)
    x = torch.rand(500, 1, 2, 5).round()
    found = run(FitPrior(prior, num_steps=150, learning_rate=0.03), vae, x)
    assert found.results["gain"] > 5 * found.results["gain_standard_error"] > 0
    z = found.model.p.sample_prior(1, 2000)[0]
    aggregate = vae.q(x).sample((4,)).flatten(0, 1)
    assert (z.mean(0) - aggregate.mean(0)).abs().max() < 0.5 * aggregate.std(0).max()


@pytest.mark.parametrize("quantizer", ["codebook", "fsq"])
def test_a_prior_of_codes_is_fitted_to_the_codes_of_the_model(quantizer):
    torch.manual_seed(0)
    vae, x = code_model(quantizer, network=None), torch.rand(60, 1, 4, 4).round()
    codes, elbo = vae.encode(x).codes, float(vae.elbo(x).mean())
    prior = partial(priors.Codes, code_dim=2, quantizer=QUANTIZERS[quantizer], network=SMALL)
    found = run(FitPrior(prior, num_steps=200, learning_rate=0.01), vae, x)
    assert torch.equal(found.model.encode(x).codes, codes)
    assert found.results["elbo_before"] == pytest.approx(elbo, abs=1e-4)
    assert found.results["elbo_after"] == pytest.approx(float(found.model.elbo(x).mean()), abs=1e-4)
    assert found.results["gain"] > 0.1
    other = partial(prior, quantizer=partial(EMACodebook, num_codes=7))
    with pytest.raises(ValueError, match=r"^task\.prior\.code_dim and task\.prior\.quantizer must be those"):
        run(FitPrior(other, num_steps=2), vae, x)


def test_the_prior_is_fitted_to_the_training_data():
    vae = collapsed_model(active=1)
    train, test = normal_data(500) + 3, normal_data(300)
    one = partial(priors.MixtureOfGaussians, num_components=1)
    found = run(FitPrior(one, **FAST), vae, test, train=Split(train))
    assert found.results["gain"] < -1
    assert float(found.model.p.prior().mean[0].detach()) == pytest.approx(3, abs=0.3)


def test_models_and_priors_that_it_cannot_fit_are_refused():
    vae, x = small_model((1, 2, 2)), torch.ones(5, 1, 2, 2)
    with pytest.raises(ValueError, match=r"needs a prior with parameters, .* got Laplace"):
        run(FitPrior(priors.Laplace), vae, x)
    sphere = small_model((1, 2, 2), posterior=posteriors.PowerSpherical, prior=priors.UniformSphere)
    with pytest.raises(ValueError, match="z is real under prior MixtureOfGaussians, but on the sphere under"):
        run(FitPrior(priors.MixtureOfGaussians), sphere, x)
    layered = small_model(
        (1, 2, 2),
        posterior=partial(posteriors.BottomUp, latent_dims=[1, 1]),
        prior=partial(priors.Hierarchical, latent_dims=[1, 1]),
    )
    with pytest.raises(ValueError, match="needs one layer of latent variables"):
        run(FitPrior(priors.MixtureOfGaussians), layered, x)

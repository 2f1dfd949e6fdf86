"""The hyperspherical VAE."""

from functools import partial

import pytest
import torch
from torch.distributions import kl_divergence

from aevb import posteriors, priors
from aevb.estimators import AnnealedImportanceSampling, ImportanceSampling, LocalELBO
from aevb.tasks import Interpolation, Latents, Traversal

from ..small import small_model
from ..tasks.known import run


def spherical(**parts):
    torch.manual_seed(0)
    return small_model((1, 4, 4), posterior=posteriors.PowerSpherical, latent_dim=3, **parts)


@pytest.mark.parametrize("extreme", [0.0, 30.0, 1e4, 1e30])
def test_draws_densities_and_gradients_are_finite_at_extreme_parameters(extreme):
    torch.manual_seed(0)
    head, uniform = posteriors.PowerSpherical(1, 3), priors.UniformSphere(3)()
    for sign in (-1.0, 1.0):
        parameters = torch.tensor([extreme + 1, extreme, -extreme, sign * extreme], requires_grad=True)
        q = head.distribution(parameters)
        z = q.rsample((500,))
        parts = (z, q.log_prob(z), uniform.log_prob(z), q.log_prob(-q.loc), kl_divergence(q, uniform))
        assert all(part.isfinite().all() for part in (*parts, q.mean, q.variance))
        (gradient,) = torch.autograd.grad(sum(part.sum() for part in parts), parameters)
        assert gradient.isfinite().all()


def test_bounds_agree_and_a_vamp_prior_takes_the_family():
    vae, x = spherical(prior=priors.UniformSphere), torch.ones(5, 1, 4, 4)
    elbo, tight = vae.elbo(x, num_samples=2000), ImportanceSampling(num_samples=2000).estimate(vae, x, 10_000)
    assert (elbo <= tight.value + 1e-2).all()
    z = vae.p.sample_prior(20_000, 5)
    from_prior = vae.p.likelihood(z).log_prob(x).double().exp().mean(0).log()
    assert ((from_prior - tight.value).abs() < 5 * (tight.variance.sqrt() + 1e-3)).all()
    assert LocalELBO(num_steps=5).estimate(vae, x, 100).value.isfinite().all()
    vamp = spherical(prior=partial(priors.VampPrior, num_components=3))
    assert vamp.elbo(x, num_samples=10).isfinite().all()
    assert vamp.sample(3).isfinite().all()


def test_what_needs_other_supports_refuses():
    with pytest.raises(ValueError, match="z is real under prior StandardNormal, but on the sphere under posterior"):
        spherical()
    vae, x = spherical(prior=priors.UniformSphere), torch.rand(6, 1, 4, 4).round()
    with pytest.raises(ValueError, match="but z is on the sphere"):
        run(Traversal(), vae, x)
    with pytest.raises(ValueError, match="any sign, but this model's are on the sphere"):
        AnnealedImportanceSampling().estimate(vae, x, 100)
    assert run(Interpolation(pairs=2), vae, x).results == {"pairs": 2}
    assert len(run(Latents(), vae, x).results["variance_of_means"]) == 3

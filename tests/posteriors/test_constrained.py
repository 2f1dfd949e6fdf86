"""Log-normal, gamma, beta and Dirichlet posteriors: scipy's densities, closed forms of gradients, exact models."""

import math
from functools import partial

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Binomial, Distribution, Independent, Multinomial, Poisson, kl_divergence

from aevb import posteriors, priors
from aevb.distributions.kl import closed_form, factorized
from aevb.estimators import AnnealedImportanceSampling, ImportanceSampling, LocalELBO, PosteriorHMC
from aevb.networks import MLPEncoder
from aevb.objectives import MonteCarloEM
from aevb.objectives.base import elbo
from aevb.priors import Prior
from aevb.vae import GenerativeModel, RecognitionModel

from ..small import small_model

PAIRS = {
    "log_normal": (posteriors.LogNormal, priors.LogNormal),
    "gamma": (posteriors.Gamma, priors.Gamma),
    "beta": (posteriors.Beta, priors.Beta),
    "dirichlet": (posteriors.Dirichlet, priors.Dirichlet),
}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def posterior_of(name: str, *parameters: list[float]) -> Distribution:
    """Of one datapoint, from what is linear in the features."""
    head = PAIRS[name][0](1, len(parameters[0]))
    return head.distribution(torch.tensor([[v for values in parameters for v in values]], dtype=torch.float64))


def raw(values: list[float], low: float = 0.1, high: float = 1e3) -> list[float]:
    """The parameters for which concentrations, or other positive parameters with such bounds, are `values`."""
    return [math.log(v - low) - math.log1p(-(v - low) / high) for v in values]


def scipys(name: str) -> tuple[Distribution, list]:
    """A posterior over three dimensions and scipy's for each, or for all together."""
    first, second = [0.4, 1.0, 7.0], [2.0, 0.5, 3.0]
    if name == "log_normal":
        loc, scale = [-1.0, 0.0, 2.0], [0.3, 1.0, 0.6]
        unbounded = [10 * math.atanh(m / 10) for m in loc]
        return posterior_of(name, unbounded, raw(scale, 1e-4, 3.0)), [
            scipy.stats.lognorm(s, scale=math.exp(m)) for m, s in zip(loc, scale, strict=True)
        ]
    if name == "gamma":
        return posterior_of(name, raw(first), raw(second, 1e-4, 1e4)), [
            scipy.stats.gamma(a, scale=1 / b) for a, b in zip(first, second, strict=True)
        ]
    if name == "beta":
        return posterior_of(name, raw(first), raw(second)), [
            scipy.stats.beta(a, b) for a, b in zip(first, second, strict=True)
        ]
    return posterior_of(name, raw(first)), [scipy.stats.dirichlet(first)]


@pytest.mark.parametrize("name", PAIRS)
def test_densities_moments_and_draws_are_scipys(name):
    posterior, references = scipys(name)
    z = posterior.sample((20_000,))
    assert z.shape == (20_000, 1, 3)
    columns = z[:, 0].T.numpy()
    if name == "dirichlet":
        (reference,) = references
        expected = reference.logpdf(columns / columns.sum(0))
        assert np.allclose(posterior.mean[0], reference.mean())
        assert np.allclose(posterior.variance[0], reference.var())
        marginals = [scipy.stats.beta(a, 8.4 - a) for a in (0.4, 1.0, 7.0)]
    else:
        expected = sum(each.logpdf(column) for each, column in zip(references, columns, strict=True))
        assert np.allclose(posterior.mean[0], [each.mean() for each in references])
        assert np.allclose(posterior.variance[0], [each.var() for each in references])
        marginals = references
    assert np.allclose(posterior.log_prob(z)[:, 0], expected)
    for column, marginal in zip(columns, marginals, strict=True):
        assert scipy.stats.kstest(column, marginal.cdf).pvalue > 1e-4


@pytest.mark.parametrize("name", PAIRS)
def test_gradients_of_draws_are_those_of_moments_in_closed_form(name):
    """The gradient of E[z] and E[z²], whose estimate from draws is within 5 standard errors."""
    parameters = torch.randn(6 if name != "dirichlet" else 3, generator=torch.Generator().manual_seed(0)).double()
    head, count = PAIRS[name][0](1, 3), 20_000

    def moments(at: Tensor) -> Tensor:
        posterior = head.distribution(at)
        return torch.cat([posterior.mean, posterior.variance + posterior.mean.square()], -1)

    exact = torch.autograd.functional.jacobian(moments, parameters)
    each = parameters.repeat(count, 1).requires_grad_()
    z = head.distribution(each).rsample()
    for row, value in enumerate(torch.cat([z, z.square()], -1).T):
        (gradient,) = torch.autograd.grad(value.sum(), each, retain_graph=True)
        error = gradient.std(0) / math.sqrt(count)
        assert ((gradient.mean(0) - exact[row]).abs() <= 5 * error + 1e-9).all()


@pytest.mark.parametrize("name", PAIRS)
def test_the_kl_is_known_and_agrees_with_draws(name):
    posterior, _ = scipys(name)
    prior = PAIRS[name][1](3).double()()
    divergence = closed_form(posterior, prior)
    z = posterior.sample((50_000,))
    ratio = posterior.log_prob(z) - prior.log_prob(z)
    assert ((divergence - ratio.mean(0)).abs() < 5 * ratio.std(0) / math.sqrt(len(z))).all()
    assert (factorized(posterior) is None) == (name == "dirichlet")


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("extreme", [30.0, 1e4, 1e30])
def test_draws_densities_and_gradients_are_finite_at_extreme_parameters(name, extreme):
    head, prior = PAIRS[name][0](1, 3), PAIRS[name][1](3)()
    for signs in torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0])] * 2):
        parameters = (extreme * signs).repeat_interleave(3)[: head.layer.out_features].requires_grad_()
        posterior = head.distribution(parameters)
        z = posterior.rsample((500,))
        densities = (posterior.log_prob(z), prior.log_prob(z), kl_divergence(posterior, prior))
        assert all(values.isfinite().all() for values in (z, posterior.mean, posterior.variance, *densities))
        assert (z > 0).all()
        assert name != "beta" or (z < 1).all()
        (gradient,) = torch.autograd.grad(sum(value.sum() for value in (z, *densities)), parameters)
        assert gradient.isfinite().all()


class Exact(nn.Module):
    """A likelihood head or a posterior head of a given function."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, h: Tensor) -> Distribution:
        return self.function(h)


def conjugate(name: str) -> tuple[GenerativeModel, RecognitionModel, Tensor, np.ndarray]:
    """A model without networks whose q(z|x) is p(z|x), data, and log p(x) by scipy."""
    prior: Prior
    if name == "gamma":  # x_i ~ Poisson(z_i), z_i ~ Gamma(2, 0.5): x_i is negative binomial
        x = torch.tensor([[0.0, 3.0], [11.0, 1.0]]).double()
        prior = priors.Gamma(2, alpha=2.0, rate=0.5)
        likelihood = partial(Poisson, validate_args=False)
        parameters = [raw((2 + row).tolist()) + raw([1.5, 1.5], 1e-4, 1e4) for row in x]
        marginal = scipy.stats.nbinom(2, 0.5 / 1.5).logpmf(x.numpy()).sum(-1)
    elif name == "beta":  # x_i ~ Binomial(5, z_i), z_i ~ Beta(2, 0.7); of one trial it is the Bernoulli
        x = torch.tensor([[0.0, 3.0], [5.0, 1.0]]).double()
        prior = priors.Beta(2, alpha=2.0, beta=0.7)
        likelihood = partial(Binomial, 5, validate_args=False)
        parameters = [raw((2 + row).tolist()) + raw((5.7 - row).tolist()) for row in x]
        marginal = scipy.stats.betabinom(5, 2, 0.7).logpmf(x.numpy()).sum(-1)
    elif name == "bernoulli":
        x = torch.tensor([[0.0, 1.0], [1.0, 1.0]]).double()
        prior = priors.Beta(2, alpha=2.0, beta=0.7)
        likelihood = partial(Bernoulli, validate_args=False)
        parameters = [raw((2 + row).tolist()) + raw((1.7 - row).tolist()) for row in x]
        marginal = scipy.stats.bernoulli(2 / 2.7).logpmf(x.numpy()).sum(-1)
    else:  # x ~ Multinomial(6, z), z ~ Dirichlet(0.8)
        x = torch.tensor([[0.0, 2.0, 4.0], [1.0, 5.0, 0.0]]).double()
        prior = priors.Dirichlet(3, alpha=0.8)
        likelihood = partial(Multinomial, 6, validate_args=False)
        parameters = [raw((0.8 + row).tolist()) for row in x]
        marginal = scipy.stats.dirichlet_multinomial([0.8] * 3, 6).logpmf(x.numpy().astype(int))
    family = {"gamma": "gamma", "dirichlet": "dirichlet"}.get(name, "beta")
    events = 0 if name == "dirichlet" else 1
    head = PAIRS[family][0](1, x.shape[1])
    p = GenerativeModel(prior.double(), nn.Identity(), Exact(lambda z: Independent(likelihood(z), events)))
    q = RecognitionModel(
        x.shape[1:], nn.Identity(), Exact(lambda x: head.distribution(torch.tensor(parameters).double()))
    )
    return p, q, x, marginal


@pytest.mark.parametrize("name", ["gamma", "beta", "bernoulli", "dirichlet"])
def test_with_the_exact_posterior_the_elbo_is_log_p_of_x(name):
    """Each draw gives log p(x, z) − log q(z|x) = log p(x): the sampled KL has no noise."""
    p, q, x, marginal = conjugate(name)
    assert np.allclose(elbo(p, q, x, kl="sampled").elbo, marginal, atol=1e-9)
    with_closed_form = torch.stack([elbo(p, q, x, 100, kl="analytic").elbo for _ in range(100)])
    error = with_closed_form.std(0) / 10
    assert ((with_closed_form.mean(0) - torch.as_tensor(marginal)).abs() < 5 * error).all()


@pytest.mark.parametrize(
    ("posterior", "prior"),
    [(q, p) for q in [*PAIRS, "real"] for p in [*PAIRS, "real", "mixture"]],
)
def test_only_pairs_of_one_support_can_be_built(posterior, prior):
    q = posteriors.Laplace if posterior == "real" else PAIRS[posterior][0]
    p = {"real": priors.StandardNormal, "mixture": priors.MixtureOfGaussians}.get(prior) or PAIRS[prior][1]
    build = partial(small_model, (1, 2, 2), posterior=q, prior=p)
    if q.support == p.support:
        assert build().elbo(torch.ones(3, 1, 2, 2)).isfinite().all()
    else:
        with pytest.raises(ValueError, match=f"^z is .*{p.__name__}, but .*{q.__name__}; choose two") as caught:
            build()
        assert "\n" not in str(caught.value)


def test_the_prior_of_a_layer_has_the_support_of_the_posterior():
    with pytest.raises(ValueError, match="prior Gamma, but real under posterior BottomUp"):
        small_model(
            (1, 2, 2),
            posterior=partial(posteriors.BottomUp, latent_dims=[1, 1]),
            prior=partial(priors.Hierarchical, latent_dims=[1, 1], top=priors.Gamma),
        )


@pytest.mark.parametrize("name", PAIRS)
def test_a_vamp_prior_has_the_support_of_the_posterior(name):
    vae = small_model((1, 2, 2), posterior=PAIRS[name][0], prior=partial(priors.VampPrior, num_components=3))
    assert vae.p.prior.support == vae.q.head.support
    assert vae.elbo(torch.ones(3, 1, 2, 2)).isfinite().all()


def test_what_needs_real_values_refuses_constrained_ones():
    vae = small_model((1, 2, 2), posterior=posteriors.Gamma, prior=priors.LogNormal)
    x, refusal = torch.ones(3, 1, 2, 2), "needs latent variables of any sign, but this model's are positive; use "
    for estimator in (AnnealedImportanceSampling(), PosteriorHMC(), LocalELBO(family="full_gaussian")):
        with pytest.raises(ValueError, match=refusal):
            estimator.estimate(vae, x, 100)
    with pytest.raises(ValueError, match=refusal):
        MonteCarloEM().connect(vae.p, vae.q)
    bounds = [ImportanceSampling(num_samples=200).estimate(vae, x, 100), LocalELBO(num_steps=5).estimate(vae, x, 100)]
    assert all(bound.value.isfinite().all() for bound in bounds)


def test_a_simplex_has_two_dimensions_or_more():
    encoder = MLPEncoder((1, 2, 2), hidden=[3])
    for part in (partial(posteriors.Dirichlet, *encoder.out_shape), priors.Dirichlet):
        with pytest.raises(ValueError, match="latent_dim must be a whole number of at least 2, got 1"):
            part(1)

"""Posteriors over two layers against a linear-Gaussian model, whose posterior and marginal likelihood are known.

z_2 ~ N(0, I), z_1 ~ N(A z_2, σ₁² I), x ~ N(W z_1, σ² I), so p(x) = N(0, W (A Aᵀ + σ₁² I) Wᵀ + σ² I). With a diagonal A
and orthogonal columns of W the posterior factorizes over the dimensions, so each of the three forms of q contains it.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from aevb.networks import MLPDecoder, MLPEncoder
from aevb.networks.layered import FirstLayer, LastState
from aevb.objectives import IWAE, SGVB
from aevb.objectives.base import elbo
from aevb.posteriors.hierarchical import BottomUp, Ladder, TopDown
from aevb.priors import MixtureOfGaussians, StandardNormal, VampPrior
from aevb.priors.hierarchical import Hierarchical
from aevb.priors.hierarchical import TopDown as TopDownPrior
from aevb.vae import VAE

from ..ppca import FixedNoise

D, X = 3, 7
SIGMA, SIGMA_1 = 0.5, 0.8
A = torch.tensor([1.5, -0.7, 0.4], dtype=torch.float64)
COLUMNS = torch.tensor([2.0, 1.0, 0.6], dtype=torch.float64)
"""Norms of the columns of W."""


def make_weight() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.linalg.qr(torch.randn(X, D, dtype=torch.float64, generator=generator))[0] * COLUMNS


W = make_weight()
PROJECTION = W / COLUMNS.square()
"""x̃ = PROJECTIONᵀ x is z_1 with noise of variance σ² / |w|²."""
NOISE = SIGMA**2 / COLUMNS.square()
ONE = torch.ones(D, dtype=torch.float64)


def set_linear(layer: nn.Linear, weight: Tensor, bias: Tensor | float = 0.0) -> None:
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(torch.as_tensor(bias, dtype=torch.float64).expand(len(weight)))


def set_gaussian(module: Any, weight: Tensor, variance: Tensor) -> None:
    """Mean linear in the input, and a constant variance."""
    bias = torch.cat([torch.zeros(D, dtype=torch.float64), variance.log()])
    set_linear(module.layer, torch.cat([weight, torch.zeros_like(weight)]), bias)


def make(prior: Any, posterior: Any, decoder: Any) -> VAE:
    torch.manual_seed(0)
    vae = VAE(
        latent_dim=2 * D,
        data_shape=(1, 1, X),
        encoder=partial(MLPEncoder, hidden=[]),
        posterior=lambda in_features, latent_dim: posterior(in_features, latent_dim, (D, D), hidden=()),
        prior=lambda latent_dim: prior(latent_dim, (D, D), hidden=()),
        decoder=decoder,
        likelihood=partial(FixedNoise, sigma=SIGMA),
        initialization="xavier",
    )
    return vae.double()


def two_layers(posterior: Any) -> VAE:
    first = partial(FirstLayer, latent_dims=(D, D), decoder=partial(MLPDecoder, hidden=[]))
    vae = make(Hierarchical, posterior, first)
    set_gaussian(vae.p.prior.layers[0], torch.diag(A), SIGMA_1**2 * ONE)
    set_linear(vae.p.head.layer, W)
    return vae


def bottom_up() -> VAE:
    vae = two_layers(BottomUp)
    q = vae.q.head
    variance = 1 / (1 / NOISE + 1 / (A.square() + SIGMA_1**2))
    set_gaussian(q.first, (variance / NOISE)[:, None] * PROJECTION.T, variance)
    variance = 1 / (1 + A.square() / SIGMA_1**2)
    set_gaussian(q.layers[0], torch.diag(variance * A / SIGMA_1**2), variance)
    return vae


def top_of_x() -> tuple[Tensor, Tensor]:
    """The weight and the variance of p(z_2|x)."""
    noise = SIGMA_1**2 + NOISE
    variance = 1 / (1 + A.square() / noise)
    return (variance * A / noise)[:, None] * PROJECTION.T, variance


def ladder() -> VAE:
    vae = two_layers(Ladder)
    set_gaussian(vae.q.head.estimates[1], *top_of_x())
    set_gaussian(vae.q.head.estimates[0], PROJECTION.T, NOISE)
    return vae


def top_down() -> VAE:
    """The state is [A z_2, z_1]."""
    width = 2 * D
    decoder = partial(LastState, width=width, decoder=partial(MLPDecoder, hidden=[]))
    vae = make(partial(TopDownPrior, width=width), partial(TopDown, width=width), decoder)
    p, q, zero = vae.p.prior, vae.q.head, torch.zeros(D, D, dtype=torch.float64)
    with torch.no_grad():
        p.start.zero_()
    for update in p.updates:
        set_linear(update[-1], torch.zeros(width, width))
    set_linear(p.inputs[1], torch.cat([torch.diag(A), zero]))
    set_linear(p.inputs[0], torch.cat([zero, torch.eye(D)]))
    set_gaussian(p.conditionals[0], torch.cat([torch.eye(D), zero], 1), SIGMA_1**2 * ONE)
    set_linear(vae.p.head.layer, torch.cat([torch.zeros(X, D), W], 1))
    for features in q.features:
        set_linear(features, torch.cat([PROJECTION.T, torch.zeros(D, X)]))
    noise = SIGMA_1**2 + NOISE
    variance = 1 / (1 + A.square() / noise)
    to_x = torch.diag(variance * A / noise)
    set_gaussian(q.residuals[1], torch.cat([zero, zero, to_x, zero], 1), variance)
    gain = (1 / NOISE) / (1 / NOISE + 1 / SIGMA_1**2)
    variance = 1 / (1 / NOISE + 1 / SIGMA_1**2)
    set_gaussian(q.residuals[0], torch.cat([-torch.diag(gain), zero, torch.diag(gain), zero], 1), variance / SIGMA_1**2)
    return vae


MODELS: list[Callable[[], VAE]] = [bottom_up, ladder, top_down]


def data(n: int = 50) -> tuple[Tensor, Tensor]:
    """x (n, 1, 1, X), and log p(x)."""
    covariance = W @ torch.diag(A.square() + SIGMA_1**2) @ W.T + SIGMA**2 * torch.eye(X)
    marginal = MultivariateNormal(torch.zeros(X, dtype=torch.float64), covariance)
    torch.manual_seed(1)
    x = marginal.sample((n,))
    return x.view(n, 1, 1, X), marginal.log_prob(x)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_exact_posterior_is_contained(model: Callable[[], VAE]) -> None:
    """log p(x, z) − log q(z|x) is log p(x) at every draw."""
    vae, (x, log_marginal) = model(), data()
    z = vae.q(x).sample((5,))
    weights = vae.p.log_joint(x, z) - vae.q(x).log_prob(z)
    torch.testing.assert_close(weights, log_marginal.expand(5, -1))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_bound_with_the_conditional_kl_is_the_log_marginal(model: Callable[[], VAE]) -> None:
    vae, (x, log_marginal) = model(), data()
    torch.manual_seed(2)
    estimate = elbo(vae.p, vae.q, x, num_samples=2000)
    assert abs((estimate.elbo - log_marginal).mean()) < 0.01
    terms = [estimate.extras["kl_1"], estimate.extras["kl_2"]]
    torch.testing.assert_close(terms[0] + terms[1], estimate.kl)


def test_training_closes_the_gap() -> None:
    """From random weights of q, with p as it is."""
    vae, (x, log_marginal) = ladder(), data(500)
    for parameter in vae.q.parameters():
        nn.init.normal_(parameter, std=0.1)
    vae.p.requires_grad_(False)
    optimizer = torch.optim.Adam(vae.q.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.994)
    objective = SGVB(num_samples=4, weight_prior=False)
    for _ in range(800):
        optimizer.zero_grad()
        objective(vae.p, vae.q, x).loss.backward()
        optimizer.step()
        schedule.step()
    gap = (log_marginal - elbo(vae.p, vae.q, x, 500).elbo).mean()
    assert abs(gap) < 0.01


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_importance_weighted_bound_takes_part(model: Callable[[], VAE]) -> None:
    vae, (x, log_marginal) = model(), data(10)
    estimate = IWAE(num_samples=3, weight_prior=False)(vae.p, vae.q, x)
    torch.testing.assert_close(-estimate.loss, log_marginal.mean())


def test_layers_of_posterior_and_prior_must_fit() -> None:
    with pytest.raises(ValueError, match=r"Ladder of layers \[3, 3\] does not fit the prior StandardNormal"):
        make(lambda latent_dim, latent_dims, hidden: StandardNormal(latent_dim), Ladder, partial(MLPDecoder, hidden=[]))


def test_top_layer_has_any_prior() -> None:
    prior = Hierarchical(6, (4, 2), top=partial(MixtureOfGaussians, num_components=3))
    z = prior().sample((5, 6))
    assert z.shape == (5, 6, 6)
    assert prior().log_prob(z).shape == (5, 6)


@pytest.mark.parametrize("part", [partial(BottomUp, 20), Hierarchical, TopDownPrior])
def test_layers_must_add_up(part: Any) -> None:
    with pytest.raises(ValueError, match=r"latent_dims must be positive and add up to 5, got \[3, 3\]"):
        part(5, [3, 3])


def test_free_bits_of_layers_bound_the_kl_of_each_from_below() -> None:
    vae, (x, _) = ladder(), data(200)
    for parameter in vae.q.head.estimates[1].parameters():  # q(z_2|x) = p(z_2), so the layer's KL is 0
        nn.init.zeros_(parameter)
    torch.manual_seed(0)
    objective = SGVB(num_samples=50, free_bits=3.0, free_bits_per="layer", weight_prior=False)
    estimate = objective(vae.p, vae.q, x)
    assert estimate.extras["kl_2"].detach().abs().max() < 1e-12
    charge = 3.0 + estimate.extras["kl_1"].mean().clamp(min=3.0)
    torch.testing.assert_close(estimate.extras["kl_free_bits"], charge)
    torch.testing.assert_close(estimate.loss, charge - estimate.log_likelihood.mean())
    torch.testing.assert_close(estimate.elbo, estimate.log_likelihood - estimate.kl)


def test_free_bits_of_layers_need_layers() -> None:
    def static(latent_dim: int, latent_dims: Any, hidden: Any) -> StandardNormal:
        return StandardNormal(latent_dim)

    vae = make(static, BottomUp, partial(MLPDecoder, hidden=[]))
    with pytest.raises(ValueError, match=r"free_bits_per=layer needs a model of several layers"):
        SGVB(free_bits=1.0, free_bits_per="layer", weight_prior=False)(vae.p, vae.q, data(5)[0])


@pytest.mark.parametrize("posterior", [Ladder, TopDown])
def test_vamp_prior_of_the_top_layer_is_the_mixture_of_its_posteriors(posterior: Any) -> None:
    top = partial(VampPrior, num_components=4)
    kind = TopDownPrior if posterior is TopDown else Hierarchical
    decoder = partial(LastState, width=200) if posterior is TopDown else partial(FirstLayer, latent_dims=(D, D))
    vae = make(partial(kind, top=top), posterior, partial(decoder, decoder=partial(MLPDecoder, hidden=[])))
    prior = vae.p.prior.top
    z = vae.q(data(6)[0]).sample((5,))[..., D:]
    components = vae.q(prior.pseudo_inputs()).conditionals(torch.zeros(4, 2 * D, dtype=torch.float64))[1]
    expected = components.log_prob(z.unsqueeze(-2)).logsumexp(-1) - math.log(4)
    torch.testing.assert_close(prior().log_prob(z), expected)


def test_vamp_prior_needs_a_top_layer_that_is_drawn_first() -> None:
    """∫ q(z_1|x) q(z_2|z_1) dz_1 has no closed form."""
    top = partial(VampPrior, num_components=4)
    first = partial(FirstLayer, latent_dims=(D, D), decoder=partial(MLPDecoder, hidden=[]))
    with pytest.raises(ValueError, match=r"has no closed form for BottomUp, as it draws z_L last; use model=ladder"):
        make(partial(Hierarchical, top=top), BottomUp, first)

"""Posterior heads and the distributions behind them."""

import math
from functools import partial

import numpy as np
import pytest
import scipy.stats
import torch
from scipy.integrate import quad
from torch import nn
from torch.distributions import (
    Distribution,
    Independent,
    Laplace,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    StudentT,
    Uniform,
    kl_divergence,
)

from aevb import posteriors
from aevb.distributions.logistic import LogisticDistribution
from aevb.networks import initialize

HEADS = {
    "diagonal_gaussian": posteriors.DiagonalGaussian,
    "full_gaussian": posteriors.FullGaussian,
    "low_rank_gaussian": posteriors.LowRankGaussian,
    "laplace": posteriors.Laplace,
    "logistic": posteriors.Logistic,
    "iaf": partial(posteriors.InverseAutoregressiveFlow, hidden=[32], context=4),
    "spline": partial(posteriors.SplineFlow, hidden=[32], context=4),
}
FLOWS = ("iaf", "spline")


def make(name: str, latent_dim: int = 2, in_features: int = 5, scale: float = 0.3) -> posteriors.Posterior:
    """A head with random weights, in float64. The flows' networks too, so that they are not the identity."""
    torch.manual_seed(0)
    head = HEADS[name](in_features, latent_dim)
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=scale)
    return head.double()


def features(batch: int = 3, in_features: int = 5) -> torch.Tensor:
    return torch.randn(batch, in_features, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def grid(points: int = 401, bound: float = 12.0) -> torch.Tensor:
    axis = torch.linspace(-bound, bound, points, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("latent_dim", [1, 2, 7])
def test_shapes(name, latent_dim):
    posterior = make(name, latent_dim)(features())
    assert (posterior.batch_shape, posterior.event_shape) == ((3,), (latent_dim,))
    z = posterior.rsample((4,))
    assert z.shape == (4, 3, latent_dim)
    assert posterior.log_prob(z).shape == (4, 3)
    assert posterior.log_prob(torch.zeros(6, 1, latent_dim, dtype=torch.float64)).shape == (6, 3)
    assert posterior.mean.shape == (3, latent_dim)
    assert posterior.expand((2, 3)).rsample((4,)).shape == (4, 2, 3, latent_dim)
    assert posterior.rsample().shape == (3, latent_dim)


@pytest.mark.parametrize("name", HEADS)
def test_density_integrates_to_one(name):
    posterior = make(name, scale=0.2)(features())
    z = grid(points=301)
    density = posterior.log_prob(z[:, None]).exp()
    cell = (z[1, 1] - z[0, 1]) ** 2
    # Peaks and knots cost the sum accuracy; the logistic density has tails beyond the grid.
    assert (density.sum(0) * cell).tolist() == pytest.approx([1, 1, 1], abs=5e-3)


@pytest.mark.parametrize("name", HEADS)
def test_samples_follow_the_density(name):
    """Moments of samples against those of the density by numerical integration, within 5 standard errors."""
    posterior = make(name)(features(1))
    z = grid()
    mass = posterior.log_prob(z[:, None])[:, 0].exp()
    mass = mass / mass.sum()
    samples = posterior.sample((40_000,))[:, 0]
    for statistic in (lambda z: z, lambda z: z.square(), lambda z: z.prod(-1, keepdim=True)):
        values = statistic(samples)
        error = values.std(0) / math.sqrt(len(samples))
        expected = (mass[:, None] * statistic(z)).sum(0)
        assert ((values.mean(0) - expected).abs() < 5 * error + 2e-3).all()


@pytest.mark.parametrize("name", HEADS)
def test_mean_is_the_mean_of_samples(name):
    posterior = make(name, scale=0.2 if name in FLOWS else 0.5)(features())
    samples = posterior.sample((40_000,))
    slack = 0.05 if name in FLOWS else 0.0  # the flows' mean is itself an estimate, of 64 samples
    assert ((samples.mean(0) - posterior.mean).abs() < 5 * samples.std(0) / 200 + slack).all()


@pytest.mark.parametrize("name", HEADS)
def test_gradient_of_samples_is_that_of_finite_differences_with_the_same_noise(name):
    head, h = make(name), features()
    weights = torch.randn(6, 3, 2, dtype=torch.float64)

    def value() -> torch.Tensor:
        torch.manual_seed(3)
        posterior = head(h)
        z = posterior.rsample((6,))
        return (weights * z).sum() + posterior.log_prob(z).sum()

    parameters = list(head.parameters())
    gradients = torch.autograd.grad(value(), parameters)
    step = 1e-6
    for parameter, gradient in zip(parameters, gradients, strict=True):
        index = gradient.abs().argmax().item()  # masked weights have no gradient
        entry = parameter.detach().view(-1)[index]
        original = entry.item()
        values = []
        for shift in (step, -step):
            parameter.detach().view(-1)[index] = original + shift
            values.append(value().item())
        parameter.detach().view(-1)[index] = original
        assert (values[0] - values[1]) / (2 * step) == pytest.approx(
            gradient.view(-1)[index].item(), rel=1e-4, abs=1e-6
        )


def test_diagonal_gaussian_is_scipys():
    head = make("diagonal_gaussian")
    h = features()
    mean, log_variance = (h @ head.layer.weight.T + head.layer.bias).detach().chunk(2, -1)
    z = torch.randn(4, 3, 2, dtype=torch.float64)
    expected = scipy.stats.norm(mean, np.exp(0.5 * log_variance.numpy())).logpdf(z).sum(-1)
    assert np.allclose(head(h).log_prob(z).detach(), expected)


@pytest.mark.parametrize("name", ["full_gaussian", "low_rank_gaussian"])
def test_correlated_gaussians_are_scipys(name):
    """With the covariance put together here from the formula in the docstring."""
    head, h = make(name, latent_dim=4, scale=0.6), features()
    parameters = (h @ head.layer.weight.T + head.layer.bias).detach()
    posterior = head(h)
    z = torch.randn(2, 3, 4, dtype=torch.float64)
    for i in range(3):
        mean, scale, rest = parameters[i, :4], parameters[i, 4:8].mul(0.5).exp().diag(), parameters[i, 8:]
        if name == "full_gaussian":
            factor = torch.eye(4, dtype=torch.float64)
            factor[np.tril_indices(4, -1)] = rest / 2
            covariance = scale @ factor @ factor.T @ scale
        else:
            directions = rest.view(4, 2)
            covariance = scale @ (torch.eye(4) + directions @ directions.T / 2) @ scale
        expected = scipy.stats.multivariate_normal(mean, covariance).logpdf(z[:, i])
        assert np.allclose(posterior.log_prob(z)[:, i].detach(), expected)
        assert torch.allclose(posterior.covariance_matrix[i].detach(), covariance)


@pytest.mark.parametrize(("name", "reference"), [("laplace", scipy.stats.laplace), ("logistic", scipy.stats.logistic)])
def test_laplace_and_logistic_are_scipys(name, reference):
    head, h = make(name), features()
    loc, log_scale = (h @ head.layer.weight.T + head.layer.bias).detach().chunk(2, -1)
    expected = reference(loc, log_scale.exp())
    z = 5 * torch.randn(4, 3, 2, dtype=torch.float64)
    posterior = head(h)
    assert np.allclose(posterior.log_prob(z).detach(), expected.logpdf(z).sum(-1))
    assert np.allclose(posterior.variance.detach(), expected.var())
    assert np.allclose(posterior.entropy().detach(), expected.entropy().sum(-1))


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


@pytest.mark.parametrize("name", ["diagonal_gaussian", "full_gaussian", "low_rank_gaussian"])
def test_gaussian_kl_is_torchs_between_full_gaussians(name):
    posterior = make(name, latent_dim=6, scale=0.6)(features())
    loc, scale = torch.randn(6, dtype=torch.float64), torch.rand(6, dtype=torch.float64) + 0.5
    prior = Independent(Normal(loc, scale), 1)
    covariance = getattr(posterior, "covariance_matrix", None)
    covariance = torch.diag_embed(posterior.variance) if covariance is None else covariance
    expected = kl_divergence(
        MultivariateNormal(posterior.mean, covariance), MultivariateNormal(loc, scale.square().diag())
    )
    assert torch.allclose(kl_divergence(posterior, prior), expected)


def test_full_gaussian_kl_to_the_standard_normal_is_the_formula_with_trace_and_determinant():
    posterior = make("full_gaussian", latent_dim=5, scale=0.6)(features())
    covariance, mean = posterior.covariance_matrix, posterior.mean
    trace = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)
    expected = 0.5 * (trace + mean.square().sum(-1) - 5 - covariance.logdet())
    zero, one = torch.zeros(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    assert torch.allclose(kl_divergence(posterior, Independent(Normal(zero, one), 1)), expected)


@pytest.mark.parametrize(
    "q", [Laplace(0.7, 0.4), Normal(-0.7, 1.3), LogisticDistribution(0.7, 0.4), LogisticDistribution(-3, 1.5)]
)
@pytest.mark.parametrize("p", [Normal(0.2, 0.9), Laplace(-0.3, 0.8)])
def test_kl_is_that_of_numerical_integration(q, p):
    def integrand(z: float) -> float:
        log_q, log_p = q.log_prob(torch.tensor(z)).item(), p.log_prob(torch.tensor(z)).item()
        return math.exp(log_q) * (log_q - log_p)

    kinks = [q.mean.item(), p.mean.item()]
    expected, _ = quad(integrand, -60, 60, points=kinks, limit=400)
    assert kl_divergence(q, p).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("prior", [Normal, Laplace, StudentT])
def test_closed_form_of_the_kl_agrees_with_samples_or_is_absent(name, prior):
    posterior = make(name, latent_dim=3)(features())
    zero, one = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    target = Independent(prior(5 * one if prior is StudentT else zero, *([zero] if prior is StudentT else []), one), 1)
    gaussian = name.endswith("gaussian")
    known = name not in FLOWS and (
        prior is Normal or (prior is Laplace and name not in ("full_gaussian", "low_rank_gaussian"))
    )
    assert known or not (gaussian and prior is Normal)
    if not known:
        with pytest.raises(NotImplementedError):
            kl_divergence(posterior, target)
        return
    z = posterior.sample((50_000,))
    ratio = posterior.log_prob(z) - target.log_prob(z)
    error = ratio.std(0) / math.sqrt(len(z))
    assert ((kl_divergence(posterior, target) - ratio.mean(0)).abs() < 5 * error).all()


def test_correlated_gaussians_have_no_closed_form_to_other_than_vectors_of_normals():
    for posterior in (
        MultivariateNormal(torch.zeros(2), torch.eye(2)),
        LowRankMultivariateNormal(torch.zeros(2), torch.ones(2, 1), torch.ones(2)),
    ):
        for target in (
            Independent(Uniform(-torch.ones(2), torch.ones(2)), 1),
            Independent(Normal(torch.zeros(2, 2), 1.0), 2),
        ):
            with pytest.raises(NotImplementedError):
                kl_divergence(posterior, target)


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("latent_dim", [1, 3])
def test_flow_density_of_samples_is_the_change_of_variables_by_the_jacobian(name, latent_dim):
    posterior = make(name, latent_dim)(features(1))

    def flow(noise: torch.Tensor) -> torch.Tensor:
        return (posterior.loc + posterior.scale * posterior.transform(noise[None]))[0]

    torch.manual_seed(5)
    z, log_prob = posterior.rsample_and_log_prob((20,))
    torch.manual_seed(5)
    noise = torch.randn(20, latent_dim, dtype=torch.float64)
    for sample, log_density, epsilon in zip(z[:, 0], log_prob[:, 0], noise, strict=True):
        assert torch.allclose(flow(epsilon), sample)
        jacobian = torch.autograd.functional.jacobian(flow, epsilon)
        expected = Normal(0, 1).log_prob(epsilon).sum() - jacobian.slogdet().logabsdet
        assert torch.allclose(log_density, expected)


@pytest.mark.parametrize("name", FLOWS)
def test_flow_density_is_the_same_from_the_noise_or_by_the_inverse(name):
    posterior = make(name, 4)(features())
    z, log_prob = posterior.rsample_and_log_prob((10,))
    assert torch.allclose(log_prob, posterior.log_prob(z), atol=1e-8)


@pytest.mark.parametrize("name", HEADS)
def test_inference_mode_changes_nothing(name):
    """Lightning validates in it."""
    head, h, results = make(name), features(), []
    for mode in (torch.no_grad, torch.inference_mode):
        torch.manual_seed(3)
        with mode():
            posterior = head(h)
            z = posterior.rsample((4,))
            results.append((z, posterior.log_prob(z), posterior.log_prob(h[:, :2])))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("name", HEADS)
def test_score_of_a_sample_drawn_without_gradients(name):
    """The gradient of log q(z) at a fixed z, which REINFORCE and wake-sleep use."""
    head, h = make(name), features()
    posterior = head(h)
    z = posterior.sample((4,))
    assert not z.requires_grad
    scores = torch.autograd.grad(posterior.log_prob(z).sum(), list(head.parameters()))
    expected = torch.autograd.grad(head(h).log_prob(z.clone()).sum(), list(head.parameters()))
    assert all(torch.allclose(a, b) for a, b in zip(scores, expected, strict=True))
    assert any(score.any() for score in scores)


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("latent_dim", [1, 2, 5])
def test_flows_start_as_a_diagonal_gaussian_whatever_the_initialisation(name, latent_dim):
    torch.manual_seed(0)
    head = HEADS[name](5, latent_dim).double()
    initialize(head, "normal")
    h = features()
    mean, log_variance, _ = head.layer(h).tensor_split((latent_dim, 2 * latent_dim), dim=-1)
    expected = Independent(Normal(mean, (0.5 * log_variance).exp()), 1)
    posterior = head(h)
    z = posterior.rsample((50,))
    assert torch.allclose(posterior.log_prob(z), expected.log_prob(z))
    assert torch.allclose(posterior.log_prob(z.clone()), expected.log_prob(z))
    assert torch.allclose(posterior.mean, mean)


@pytest.mark.parametrize("name", FLOWS)
def test_flows_learn_away_from_the_identity(name):
    """Fitted to p(z) = N(z₁; 0, 1) N(z₂; z₁², ½²), a flow comes closer than the best Gaussian, whose KL is 0.56.

    A Gaussian q with the symmetry of p has independent dimensions, and E_q[z₂] = v = Var z₁ and Var z₂ = ¼ are best.
    What is left of the KL, −½ log v + ½ v + 4 v² − ½, has its minimum where 8 v² + ½ v = ½.
    """
    v = (math.sqrt(0.25 + 16) - 0.5) / 16
    best_gaussian = -0.5 * math.log(v) + 0.5 * v + 4 * v**2 - 0.5
    torch.manual_seed(0)
    head = HEADS[name](5, 2)

    def kl(count: int) -> torch.Tensor:
        posterior = head(torch.zeros(count, 5))
        z = posterior.rsample((1,))
        first, second = z.unbind(-1)
        log_target = Normal(0.0, 1.0).log_prob(first) + Normal(first.square(), 0.5).log_prob(second)
        return (posterior.log_prob(z) - log_target).mean()

    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    for _ in range(400):
        optimizer.zero_grad()
        kl(256).backward()
        optimizer.step()
    assert -0.05 < kl(20_000).item() < 0.75 * best_gaussian


@pytest.mark.parametrize("name", HEADS)
def test_mixed_precision_computes_densities_in_float32(name):
    torch.manual_seed(0)
    head = HEADS[name](5, 6)
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.3)
    h = torch.randn(3, 5)
    with torch.autocast("cpu", torch.bfloat16):
        posterior = head(h.bfloat16())
        z = posterior.rsample((4,))
        kept, computed = posterior.log_prob(z), posterior.log_prob(z.clone())
    assert z.dtype == kept.dtype == computed.dtype == torch.float32
    assert torch.allclose(kept, computed, atol=1e-3)
    assert torch.allclose(computed, posterior.log_prob(z.clone()), atol=1e-3)


@pytest.mark.parametrize(
    ("make_head", "message"),
    [
        (partial(posteriors.LowRankGaussian, rank=0), "rank must be a whole number from 1 to 10,000,000, got 0"),
        (partial(posteriors.LowRankGaussian, rank=1.5), "rank must be"),
        (partial(posteriors.InverseAutoregressiveFlow, transforms=0), "transforms must be"),
        (partial(posteriors.InverseAutoregressiveFlow, hidden=64), "hidden must be a list"),
        (partial(posteriors.InverseAutoregressiveFlow, context=-1), "context must be"),
        (partial(posteriors.SplineFlow, bins=1), "bins must be a whole number of at least 2, got 1"),
        (partial(posteriors.SplineFlow, transforms=True), "transforms must be"),
        (partial(posteriors.SplineFlow, hidden=[0]), "hidden must be a list of positive"),
    ],
)
def test_bad_settings_stop_with_one_line(make_head, message):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        make_head(5, 2)
    assert "\n" not in str(caught.value)


def test_importing_the_flows_leaves_the_checks_of_torchs_distributions_on():
    assert Distribution._validate_args == __debug__
    with pytest.raises(ValueError, match="scale"):
        Normal(0.0, -1.0)

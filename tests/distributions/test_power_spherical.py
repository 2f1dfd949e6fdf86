"""The power spherical distribution against numerical integration, scipy, and closed forms of moments."""

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import kl_divergence

from aevb.distributions.power_spherical import PowerSpherical, UniformOnSphere


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def make(dim: int, kappa: float, count: int = 1) -> PowerSpherical:
    return PowerSpherical(F.normalize(torch.randn(count, dim).double(), dim=-1), torch.full((count,), kappa).double())


def over_sphere(dim: int, function) -> float:
    """∫ f(μᵀz) dz by the height t = μᵀz: the sphere at height t has the area of S^(D−2), of radius √(1 − t²)."""
    area = 2 * math.pi ** ((dim - 1) / 2) / scipy.special.gamma((dim - 1) / 2)
    return area * scipy.integrate.quad(lambda a: function(math.cos(a)) * math.sin(a) ** (dim - 2), 0, math.pi)[0]


@pytest.mark.parametrize("dim", [2, 3, 4, 11])
@pytest.mark.parametrize("kappa", [0.05, 1.0, 30.0])
def test_density_and_kl_are_those_of_numerical_integration(dim, kappa):
    q, uniform = make(dim, kappa), UniformOnSphere(torch.zeros(dim).double())
    other = torch.linalg.svd(q.loc)[2][1]  # of norm 1 and orthogonal to μ

    def density(t: float) -> float:
        z = t * q.loc + math.sqrt(1 - t**2) * other
        return float(q.log_prob(z).exp())

    assert over_sphere(dim, density) == pytest.approx(1, abs=1e-6)
    assert over_sphere(dim, lambda t: math.exp(uniform.log_prob(q.loc))) == pytest.approx(1, abs=1e-6)
    kl = over_sphere(dim, lambda t: density(t) and density(t) * (math.log(density(t)) + uniform.log_area))
    assert float(kl_divergence(q, uniform)) == pytest.approx(kl, abs=1e-6)


def test_on_the_circle_it_is_a_power_of_a_cosine():
    """D = 2: p(θ) ∝ cos(θ/2)^2κ about μ."""
    q, angles = make(2, 3.0), np.linspace(-3, 3, 7)
    total = scipy.integrate.quad(lambda a: math.cos(a / 2) ** 6, -math.pi, math.pi)[0]
    start = math.atan2(q.loc[0, 1], q.loc[0, 0])
    z = torch.tensor([[math.cos(start + a), math.sin(start + a)] for a in angles]).double()
    assert np.allclose(q.log_prob(z).exp(), np.cos(angles / 2) ** 6 / total)


@pytest.mark.parametrize("dim", [2, 3, 11])
@pytest.mark.parametrize("kappa", [0.5, 40.0])
def test_draws_follow_the_density(dim, kappa):
    q = make(dim, kappa)
    z = q.sample((20_000,))[:, 0]
    assert torch.allclose(z.norm(dim=-1), torch.ones(20_000).double())
    share = (1 + z @ q.loc[0]) / 2
    beta = (dim - 1) / 2
    assert scipy.stats.kstest(share.numpy(), scipy.stats.beta(beta + kappa, beta).cdf).pvalue > 1e-4
    beside = F.normalize(z - (z @ q.loc[0])[:, None] * q.loc[0], dim=-1)
    assert float(beside.mean(0).norm()) < 5 / math.sqrt(20_000)
    for moment, values in ((q.mean, z), (q.variance, (z - q.mean).square())):
        assert ((values.mean(0) - moment[0]).abs() < 5 * values.std(0) / math.sqrt(20_000)).all()


@pytest.mark.parametrize("start", [[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [-1e-9, 0.6, 0.8], [0.3, -0.5, 0.1]])
@pytest.mark.parametrize("kappa", [0.3, 20.0, 2000.0])
def test_gradients_of_draws_are_those_of_moments_in_closed_form(start, kappa):
    def moments(at: Tensor) -> Tensor:
        q = PowerSpherical(F.normalize(at[..., :3], dim=-1), at[..., 3].exp())
        return torch.cat([q.mean, q.variance + q.mean.square()], -1)

    parameters, count = torch.tensor([*start, math.log(kappa)]).double(), 20_000
    exact = torch.autograd.functional.jacobian(moments, parameters)
    each = parameters.repeat(count, 1).requires_grad_()
    z = PowerSpherical(F.normalize(each[:, :3], dim=-1), each[:, 3].exp()).rsample()
    for row, value in enumerate(torch.cat([z, z.square()], -1).T):
        (gradient,) = torch.autograd.grad(value.sum(), each, retain_graph=True)
        error = gradient.std(0) / math.sqrt(count)
        assert ((gradient.mean(0) - exact[row]).abs() <= 5 * error + 1e-9).all()


@pytest.mark.parametrize("kappa", [0.01, 100.0, 1e4])
def test_float32_costs_less_than_a_thousandth_of_a_nat(kappa):
    q = make(11, kappa, 500)
    single, uniform = PowerSpherical(q.loc.float(), q.concentration.float()), UniformOnSphere(torch.zeros(11))
    z = q.sample()
    assert float((single.log_prob(z.float()) - q.log_prob(z)).mean().abs()) < 1e-3
    assert float((kl_divergence(single, uniform) - kl_divergence(q, uniform)).abs().max()) < 1e-3


def test_the_uniform_distribution_has_its_moments():
    uniform = UniformOnSphere(torch.zeros(4))
    z = uniform.sample((20_000,))
    assert torch.allclose(z.norm(dim=-1), torch.ones(20_000))
    for moment, values in ((uniform.mean, z), (uniform.variance, z.square())):
        assert ((values.mean(0) - moment).abs() < 5 * values.std(0) / math.sqrt(20_000)).all()

"""Hamiltonian Monte Carlo: exactness of its parts, and its draws against known distributions."""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.distributions import MultivariateNormal

from aevb.inference import hmc

from ..ppca import make_ppca

COVARIANCE = torch.tensor([[1.0, 0.6], [0.6, 0.5]], dtype=torch.float64)
MEAN = torch.tensor([1.0, -2.0], dtype=torch.float64)


def gaussian(z: Tensor) -> Tensor:
    return MultivariateNormal(MEAN, COVARIANCE).log_prob(z)


def funnel(z: Tensor) -> Tensor:
    """z_0 ~ N(0, 1), z_1 | z_0 ~ N(0, exp(z_0)²) up to a constant: a gentle version of Neal's funnel."""
    return -0.5 * (z[..., 0].square() + (z[..., 1] / z[..., 0].exp()).square()) - z[..., 0]


def bimodal(z: Tensor) -> Tensor:
    """An even mixture of N(−1.5, 0.5²) and N(1.5, 1)."""
    parts = [torch.distributions.Normal(-1.5, 0.5).log_prob(z), torch.distributions.Normal(1.5, 1.0).log_prob(z)]
    return torch.stack(parts).logsumexp(0).squeeze(-1) - math.log(2)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def float64(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def test_trajectories_can_be_run_backwards() -> None:
    chains, momentum, step = hmc.start(funnel, float64(3, 4, 2)), float64(3, 4, 2), torch.tensor(0.05)
    there, turned = hmc.leapfrog(funnel, chains, momentum, step, 10)
    assert (there.z - chains.z).abs().max() > 0.1
    back, final = hmc.leapfrog(funnel, there, -turned, step, 10)
    assert torch.allclose(back.z, chains.z, atol=1e-10)
    assert torch.allclose(-final, momentum, atol=1e-10)


def test_trajectories_keep_volume() -> None:
    def flow(state: Tensor) -> Tensor:
        chains, momentum = hmc.leapfrog(
            funnel, hmc.start(funnel, state[None, None, :2]), state[2:], torch.tensor(0.2), 5
        )
        return torch.cat([chains.z[0, 0], momentum[0, 0]])

    state, h = float64(4), 1e-5
    jacobian = torch.stack(
        [(flow(state + h * unit) - flow(state - h * unit)) / (2 * h) for unit in torch.eye(4, dtype=torch.float64)]
    )
    assert float(torch.linalg.det(jacobian)) == pytest.approx(1, abs=1e-6)
    assert (jacobian - torch.eye(4)).abs().max() > 0.1


def test_the_energy_error_falls_with_the_square_of_the_step_size() -> None:
    chains, momentum = hmc.start(gaussian, float64(1, 1000, 2)), float64(1, 1000, 2)

    def error(step: float) -> Tensor:
        end, final = hmc.leapfrog(gaussian, chains, momentum, torch.tensor(step), round(1 / step))
        energy = end.log_density - 0.5 * final.square().sum(-1)
        return (energy - (chains.log_density - 0.5 * momentum.square().sum(-1))).abs().mean()

    assert float(error(0.05) / error(0.025)) == pytest.approx(4, rel=0.15)


@pytest.mark.parametrize("step", [0.3, 0.58])
def test_a_transition_leaves_the_target_invariant(step: float) -> None:
    """From exact draws to exact draws, also at step sizes at which many proposals are rejected."""
    z = MultivariateNormal(MEAN, COVARIANCE).sample((20_000, 1))
    chains, acceptance = hmc.transition(gaussian, hmc.start(gaussian, z), torch.tensor(step), leapfrog_steps=3)
    assert 0.2 < float((chains.z != z).any(-1).double().mean()) < 1
    assert step < 0.5 or float(acceptance.mean()) < 0.95
    for dimension in range(2):
        scale = float(COVARIANCE[dimension, dimension].sqrt())
        test = stats.kstest(chains.z[:, 0, dimension].numpy(), stats.norm(float(MEAN[dimension]), scale).cdf)
        assert test.pvalue > 0.01
    moved = (chains.z - MEAN).square().prod(-1).mean()
    exact = COVARIANCE[0, 0] * COVARIANCE[1, 1] + 2 * COVARIANCE[0, 1] ** 2
    assert float(moved) == pytest.approx(float(exact), rel=0.06)


def test_without_the_acceptance_step_the_target_would_not_be_invariant() -> None:
    """The step size of the test above is one at which the test could fail."""
    z = MultivariateNormal(MEAN, COVARIANCE).sample((20_000, 1))
    chains, _ = hmc.leapfrog(gaussian, hmc.start(gaussian, z), torch.randn_like(z), torch.tensor(0.58), 3)
    moved = (chains.z - MEAN).square().prod(-1).mean()
    exact = COVARIANCE[0, 0] * COVARIANCE[1, 1] + 2 * COVARIANCE[0, 1] ** 2
    assert abs(float(moved / exact) - 1) > 0.1


def test_draws_from_a_gaussian_have_its_mean_and_covariance() -> None:
    draws = hmc.sample(gaussian, torch.zeros(400, 1, 2, dtype=torch.float64), torch.tensor(0.1), 50, 50)
    z = draws.z.flatten(0, 2)
    assert draws.z.shape == (50, 400, 1, 2)
    assert torch.allclose(z.mean(0), MEAN, atol=0.04)
    assert torch.allclose(z.T.cov(), COVARIANCE, atol=0.04)


@pytest.mark.parametrize("target", [0.65, 0.9])
@pytest.mark.parametrize("first", [0.001, 3.0])
def test_step_size_is_tuned_to_the_target_acceptance(target: float, first: float) -> None:
    scales = torch.linspace(0.5, 2, 20)

    def log_density(z: Tensor) -> Tensor:
        return -0.5 * (z / scales).square().sum(-1)

    draws = hmc.sample(
        log_density, scales * float64(100, 1, 20), torch.tensor(first), 50, 200, target_acceptance=target
    )
    assert float(draws.acceptance) == pytest.approx(target, abs=0.03)


def test_step_sizes_per_datapoint_suit_each_of_them() -> None:
    scale = torch.tensor([0.1, 1.0, 10.0])

    def log_density(z: Tensor) -> Tensor:
        return -0.5 * (z / scale.unsqueeze(-1)).square().sum(-1)

    draws = hmc.sample(log_density, torch.zeros(200, 3, 2), torch.full((3,), 0.5), 20, 150)
    assert draws.step_size.shape == (3,)
    assert torch.allclose(draws.step_size / draws.step_size[1], scale, rtol=0.2)
    assert torch.allclose(draws.z.std((0, 1, 3)), scale, rtol=0.1)


def test_chains_cross_between_modes() -> None:
    z = torch.full((2000, 1, 1), -1.5, dtype=torch.float64)
    draws = hmc.sample(bimodal, z, torch.tensor(0.3), 1, 150, leapfrog_steps=15)
    values = draws.z.flatten().numpy()

    def cdf(value: float) -> float:
        return 0.5 * stats.norm.cdf(value, -1.5, 0.5) + 0.5 * stats.norm.cdf(value, 1.5, 1.0)

    assert stats.kstest(values, cdf).pvalue > 0.01


def test_chains_explore_a_funnel() -> None:
    draws = hmc.sample(funnel, torch.zeros(1000, 1, 2, dtype=torch.float64), torch.tensor(0.1), 1, 150)
    z = draws.z.flatten(0, 2)
    assert stats.kstest(z[:, 0].numpy(), "norm").pvalue > 0.01
    assert stats.kstest((z[:, 1] / z[:, 0].exp()).numpy(), "norm").pvalue > 0.01


def test_a_trajectory_that_diverges_is_rejected() -> None:
    def edge(z: Tensor) -> Tensor:
        return -0.5 * z.square().sum(-1) + torch.where(z[..., 0] > 0, 0.0, math.nan)

    chains = hmc.start(edge, torch.full((500, 1, 1), 0.1))
    for _ in range(10):
        chains, acceptance = hmc.transition(edge, chains, torch.tensor(0.5))
        assert bool(chains.z.isfinite().all())
        assert bool(chains.log_density.isfinite().all())
        assert bool((acceptance == 0).any())


def test_weights_get_no_gradient_and_modes_of_autograd_do_not_matter() -> None:
    model = make_ppca(latent_dim=2, data_dim=3)

    def log_density(z: Tensor) -> Tensor:
        return model.p.log_joint(model.x, z)

    results = []
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        torch.manual_seed(1)
        with mode():
            z = torch.zeros(5, len(model.x), 2, dtype=torch.float64)
            draws = hmc.sample(log_density, z, torch.tensor(0.2), 3, 3)
        assert not draws.z.requires_grad
        results.append(draws.z)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    assert all(weight.grad is None for weight in model.p.parameters())


def test_draws_are_those_of_the_posterior_of_ppca() -> None:
    model = make_ppca(latent_dim=2, data_dim=4, num_data=3)
    z = torch.zeros(300, 3, 2, dtype=torch.float64)
    draws = hmc.sample(lambda z: model.p.log_joint(model.x, z), z, torch.full((3,), 0.1), 40, 60).z.flatten(0, 1)
    with torch.no_grad():
        exact = model.posterior(model.x)
    scale = exact.covariance_matrix.diagonal(dim1=-2, dim2=-1).sqrt()
    assert ((draws.mean(0) - exact.mean).abs() / scale).max() < 0.05
    fitted = hmc.fit_gaussian(draws)
    assert torch.allclose(fitted.covariance_matrix, exact.covariance_matrix, atol=0.04)


def test_fit_gaussian_with_many_draws_is_the_usual_estimate() -> None:
    z = float64(5000, 2, 3) @ float64(3, 3)
    fitted = hmc.fit_gaussian(z)
    assert torch.allclose(fitted.mean, z.mean(0))
    for datapoint in range(2):
        assert torch.allclose(fitted.covariance_matrix[datapoint], z[:, datapoint].T.cov(), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("count", [2, 3])
def test_fit_gaussian_with_few_draws_is_a_proper_density(count: int) -> None:
    fitted = hmc.fit_gaussian(float64(count, 50, 5))
    assert bool(fitted.log_prob(fitted.sample()).isfinite().all())
    still = hmc.fit_gaussian(torch.zeros(count, 2, 5))
    assert bool(still.log_prob(still.sample()).isfinite().all())

"""The Hamiltonian VAE: its bound in closed form for a linear-Gaussian model, and SGVB without leapfrog steps."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from aevb import priors
from aevb.errors import ConfigError
from aevb.objectives import SGVB, HamiltonianVAE

from ..ppca import PPCA, make_ppca
from ..small import pair, small_model
from .test_factor import loss_and_gradients

SETTINGS = [
    {"leapfrog_steps": 1, "step_size": 0.3},
    {"leapfrog_steps": 3, "step_size": 0.3},
    {"leapfrog_steps": 3, "step_size": 0.3, "inverse_temperature": 0.6},
]


def connected(model: PPCA, **settings: float) -> HamiltonianVAE:
    objective = HamiltonianVAE(**settings, weight_prior=False)
    objective.connect(model.p, model.q)
    return objective.double()


def exact_bound(model: PPCA, steps: int, step_size: float, inverse_temperature: float = 1.0) -> float:
    """The mean over the data: leapfrog steps are linear here, so means and covariances of (z, ρ) follow from matrices.

    Tempering is by the factors sqrt(β_{k−1} / β_k), with sqrt(β_k) as in the source.
    """
    weight, bias = (value.detach().numpy() for value in (model.weight, model.bias))
    sigma2, dim = model.sigma**2, weight.shape[1]
    precision = np.eye(dim) + weight.T @ weight / sigma2
    x = model.x.flatten(1).numpy()
    posterior = model.q(model.x).base_dist
    root_beta = [
        1 / ((1 - inverse_temperature**-0.5) * k**2 / steps**2 + inverse_temperature**-0.5) for k in range(steps + 1)
    ]
    eye, nothing, bounds = np.eye(dim), np.zeros((dim, dim)), []
    for row, mean, scale in zip(x, posterior.loc.detach().numpy(), posterior.scale.detach().numpy(), strict=True):
        pull = weight.T @ (row - bias) / sigma2  # the gradient of log p(x, z) is pull − precision z
        kick = np.block([[eye, nothing], [-0.5 * step_size * precision, eye]])
        kick_offset = np.concatenate([np.zeros(dim), 0.5 * step_size * pull])
        drift = np.block([[eye, step_size * eye], [nothing, eye]])
        m = np.concatenate([mean, np.zeros(dim)])
        c = np.diag(np.concatenate([scale**2, np.full(dim, 1 / inverse_temperature)]))
        for before, after in pairwise(root_beta):
            temper = np.diag(np.concatenate([np.ones(dim), np.full(dim, before / after)]))
            step = temper @ kick @ drift @ kick
            m = step @ m + temper @ (kick @ drift @ kick_offset + kick_offset)
            c = step @ c @ step.T
        z, covariance = m[:dim], c[:dim, :dim]
        residual = ((row - bias - weight @ z) ** 2).sum() + np.trace(weight @ covariance @ weight.T)
        log_joint = -0.5 * (len(bias) * math.log(2 * math.pi * sigma2) + residual / sigma2)
        log_joint -= 0.5 * (dim * math.log(2 * math.pi) + (z**2).sum() + np.trace(covariance))
        entropy = 0.5 * dim * math.log(2 * math.pi * math.e) + np.log(scale).sum()
        kinetic = 0.5 * ((m[dim:] ** 2).sum() + np.trace(c[dim:, dim:]) - dim)
        bounds.append(log_joint + entropy - kinetic)
    return float(np.mean(bounds))


@pytest.mark.parametrize("kl", ["analytic", "sampled"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_the_bound_has_its_exact_mean_between_the_elbo_and_the_log_marginal(
    kl: str, settings: dict[str, float]
) -> None:
    model = make_ppca(latent_dim=2, data_dim=3, num_data=5)
    exact = exact_bound(model, settings["leapfrog_steps"], *list(settings.values())[1:])
    assert (
        float(model.elbo(model.x).detach().mean()) + 0.05 < exact < float(model.log_marginal(model.x).detach().mean())
    )
    objective = connected(model, kl=kl, num_samples=4, **settings)
    x = model.x.repeat(4000, 1, 1, 1)
    for estimate in (objective.evaluate(model.p, model.q, x), objective(model.p, model.q, x)):
        draws = estimate.extras["hamiltonian"].detach().view(4000, -1).mean(1)
        assert abs(float(draws.mean()) - exact) < 4 * float(draws.std()) / math.sqrt(len(draws))
        assert float(estimate.elbo.detach().mean()) < exact
    assert torch.allclose(estimate.loss, -estimate.extras["hamiltonian"].mean())


def test_importance_weights_of_the_moved_draws_are_unbiased() -> None:
    """E[p(x, z_K) N(ρ_K; 0, I) / (q(z_0|x) N(γ; 0, I))] = p(x), whatever the step sizes and temperatures are."""
    model = make_ppca(latent_dim=1, data_dim=2)
    objective = connected(model, kl="sampled", leapfrog_steps=4, step_size=0.4, inverse_temperature=0.5)
    bounds = objective.evaluate(model.p, model.q, model.x.repeat(100_000, 1, 1, 1)).extras["hamiltonian"]
    weights = bounds.view(-1, len(model.x)).exp()
    error = weights.std(0) / math.sqrt(len(weights))
    assert bool(((weights.mean(0) - model.log_marginal(model.x).exp()).abs() < 4 * error).all())


@pytest.mark.parametrize("kl", ["analytic", "sampled"])
def test_without_leapfrog_steps_it_is_sgvb_to_the_bit(kl: str) -> None:
    model = make_ppca(latent_dim=3, data_dim=4)
    neutral = HamiltonianVAE(num_samples=2, kl=kl, leapfrog_steps=0, inverse_temperature=0.5)
    pairs = zip(loss_and_gradients(neutral, model), loss_and_gradients(SGVB(2, kl=kl), model), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert not list(neutral.parameters())


def test_its_gradients_are_those_of_finite_differences() -> None:
    """For θ, φ, the step sizes and the temperature, through the gradients of the leapfrog steps."""
    model = make_ppca(latent_dim=2, data_dim=3)
    objective = connected(model, leapfrog_steps=2, step_size=0.2, inverse_temperature=0.7)
    weights = [*model.p.parameters(), *model.q.parameters(), *objective.parameters()]

    def loss() -> Tensor:
        torch.manual_seed(0)
        return objective(model.p, model.q, model.x).loss

    gradients = torch.autograd.grad(loss(), weights)
    for weight, gradient in zip(weights, gradients, strict=True):
        flat, step = weight.data.view(-1), 1e-6
        numeric = []
        for index in range(len(flat)):
            values = []
            for sign in (1, -1):
                flat[index] += sign * step
                values.append(float(loss().detach()))
                flat[index] -= sign * step
            numeric.append((values[0] - values[1]) / (2 * step))
        assert torch.allclose(gradient.flatten(), torch.tensor(numeric, dtype=torch.float64), rtol=1e-5, atol=1e-7)


def test_it_needs_unconstrained_latent_variables_and_to_be_connected() -> None:
    p, q = pair(small_model((1, 2, 2)))
    with pytest.raises(RuntimeError, match=r"needs objective\.connect\(p, q\) first"):
        HamiltonianVAE().estimate(p, q, torch.zeros(2, 1, 2, 2))
    p.prior = priors.Gamma(2)
    with pytest.raises(ConfigError, match=r"^objective=hamiltonian needs latent variables of any sign"):
        HamiltonianVAE().connect(p, q)

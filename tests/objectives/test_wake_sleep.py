"""The gradients of the wake and the sleep phase."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from aevb.objectives import WakeSleep
from aevb.posteriors import DiagonalGaussian, InverseAutoregressiveFlow, Posterior
from aevb.priors import VampPrior

from ..ppca import PPCA, make_ppca
from ..small import pair, shared_model, small_model
from .gradients import assert_unbiased, exact_gradient, gradient_draws, phi, theta


def sleep_by_quadrature(model: PPCA) -> Tensor:
    """E_p(x,z)[log q(z|x)] for one latent and two data dimensions, by a product of three Gauss-Hermite rules."""
    nodes, weights = (torch.from_numpy(a) for a in np.polynomial.hermite.hermgauss(24))
    grid = math.sqrt(2) * torch.cartesian_prod(nodes, nodes, nodes)
    probability = torch.cartesian_prod(weights, weights, weights).prod(-1) / math.pi**1.5
    z, noise = grid[:, :1], grid[:, 1:]
    x = z @ model.weight.detach().T + model.bias.detach() + model.sigma * noise
    return (probability * model.q(x.view(-1, 1, 1, 2)).log_prob(z)).sum()


def test_wake_follows_the_elbo_and_sleep_the_dreams() -> None:
    model = make_ppca(latent_dim=1, data_dim=2)
    objective = WakeSleep(num_samples=2, weight_prior=False)
    of_theta = exact_gradient(-model.elbo(model.x).mean(), theta(model))
    assert_unbiased(gradient_draws(objective, model, theta(model), 500), of_theta)
    of_phi = exact_gradient(-sleep_by_quadrature(model), phi(model))
    assert_unbiased(gradient_draws(objective, model, phi(model), 500), of_phi)
    of_the_elbo = exact_gradient(-model.elbo(model.x).mean(), phi(model))
    assert (of_phi - of_the_elbo).abs().max() > 0.1, "the sleep phase is not expected to follow the ELBO"


@pytest.mark.parametrize("head", [DiagonalGaussian, partial(InverseAutoregressiveFlow, hidden=[6], context=3)])
def test_the_wake_phase_trains_the_pseudo_inputs_of_a_vamp_prior_and_not_phi(
    head: Callable[..., Posterior], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    shape = (1, 1, 3)
    p, q = pair(small_model(shape, posterior=head, prior=partial(VampPrior, num_components=4)))
    objective, x = WakeSleep(weight_prior=False), torch.rand(6, *shape)
    monkeypatch.setattr(objective, "dream", lambda p, q, count: torch.zeros(count))
    objective(p, q, x).loss.backward()
    assert all(weight.grad is None for weight in q.parameters())
    assert all(weight.grad is not None and weight.grad.any() for weight in p.parameters())
    monkeypatch.undo()
    objective(p, q, x).loss.backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in q.parameters())


@pytest.mark.parametrize("name", ["ladder", "top_down"])
def test_the_sleep_phase_does_not_train_what_q_shares_with_the_prior(name: str) -> None:
    torch.manual_seed(0)
    p, q = pair(shared_model(name, (1, 1, 3)))
    WakeSleep().dream(p, q, 5).sum().backward()
    assert all(weight.grad is None for weight in p.parameters())
    assert all(weight.grad is not None and weight.grad.any() for weight in q.head.parameters())

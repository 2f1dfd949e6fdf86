"""Full variational Bayes: its bound and its gradient."""

import math

import pytest
import torch
from scipy.special import logsumexp
from torch import Tensor

from aevb.objectives import FullVB
from aevb.objectives.full_vb import means

from ..ppca import PPCA, make_ppca
from .gradients import assert_unbiased, exact_gradient, gradient_draws, phi, theta, train


def log_evidence(x: Tensor, sigma: float) -> float:
    """log p(X) for one latent and one data dimension with w, b ~ N(0, 1) integrated out, by the trapezoidal rule."""
    grid = torch.linspace(-5, 5, 401, dtype=torch.float64)
    w, b = torch.meshgrid(grid, grid, indexing="ij")
    scale = (w.square() + sigma**2).sqrt().unsqueeze(-1)
    log_joint = torch.distributions.Normal(b.unsqueeze(-1), scale).log_prob(x.flatten()).sum(-1)
    log_joint += torch.distributions.Normal(0, 1).log_prob(torch.stack([w, b])).sum(0)
    return float(logsumexp(log_joint.numpy())) + 2 * math.log(float(grid[1] - grid[0]))


def test_full_variational_bayes_bounds_the_evidence_of_the_data() -> None:
    model = make_ppca(latent_dim=1, data_dim=1, num_data=40, sigma=1.0, seed=2)
    evidence = log_evidence(model.x, model.sigma)
    objective = FullVB(num_weight_samples=4, initial_scale=0.1)
    train(model, objective, 800)
    with torch.no_grad():
        estimates = [objective.evaluate(model.p, model.q, model.x) for _ in range(500)]
    bounds = len(model.x) * torch.stack([estimate.elbo.mean() for estimate in estimates])
    error = float(bounds.std()) / math.sqrt(len(bounds))
    assert float(bounds.mean()) + 4 * error < evidence
    # w and −w explain the data alike, and a Gaussian can cover one of them only: log 2 nats. A few more for the
    # independence of w, b and z.
    assert float(bounds.mean()) > evidence - math.log(2) - 2.5
    last = estimates[-1]
    assert torch.allclose(last.elbo, last.log_likelihood - last.kl - last.extras["kl_weights"])


def test_full_variational_bayes_learns_how_sure_the_weights_are() -> None:
    """With z almost known, b is a mean of N values with noise σ: its posterior has the scale σ/√(N + σ²)."""
    model = make_ppca(latent_dim=1, data_dim=1, num_data=100, sigma=0.5)
    with torch.no_grad():
        model.weight.fill_(0.0)
    model.weight.requires_grad_(False)
    objective = FullVB(num_weight_samples=4, initial_scale=0.3)
    train(model, objective, 800)
    assert len(objective.log_scales) == 1
    expected = model.sigma / math.sqrt(len(model.x) + model.sigma**2)
    assert float(objective.log_scales[0].exp()) == pytest.approx(expected, rel=0.1)
    assert float(model.bias) == pytest.approx(float(model.x.mean()), abs=0.3 * expected)


def full_bound(objective: FullVB, model: PPCA, num_data: int) -> Tensor:
    """The exact bound on log p(X)/N for independent Gaussian W, b and z, with gradients for all parameters."""
    posterior = model.q(model.x).base_dist
    m, s2 = posterior.loc.unsqueeze(1), posterior.scale.square().unsqueeze(1)
    (w, b), (w_variance, b_variance) = means(model.p).values(), [(2 * scale).exp() for scale in objective.log_scales]
    residual = (model.x.flatten(1) - (w * m).sum(-1) - b).square()
    spread = ((w.square() + w_variance) * (m.square() + s2) - w.square() * m.square()).sum(-1) + b_variance
    noise = model.sigma**2
    log_likelihood = -0.5 * (math.log(2 * math.pi * noise) + (residual + spread) / noise).sum(-1)
    kl = 0.5 * (m.square() + s2 - 1 - s2.log()).sum((-1, -2))
    kl_weights = sum(
        0.5 * (mean.square() + variance - 1 - variance.log()).sum()
        for mean, variance in ((w, w_variance), (b, b_variance))
    )
    return (log_likelihood - kl).mean() - kl_weights / num_data


@pytest.mark.parametrize("num_weight_samples", [1, 3])
def test_the_gradient_of_full_variational_bayes_is_unbiased(num_weight_samples: int) -> None:
    model = make_ppca(latent_dim=2, data_dim=3)
    objective = FullVB(num_weight_samples=num_weight_samples, initial_scale=0.3)
    objective.num_data = 40
    objective.connect(model.p, model.q)
    weights = theta(model) + phi(model) + list(objective.log_scales)
    exact = exact_gradient(-full_bound(objective, model, 40), weights)
    # All datapoints share a draw of the weights, so copies of them do not help much.
    assert_unbiased(gradient_draws(objective, model, weights, 2500, copies=5), exact)

"""FactorVAE: the discriminator's density ratio on Gaussians of known total correlation, its gradients, and SGVB."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import MultivariateNormal

from aevb import posteriors
from aevb.objectives import SGVB, FactorVAE, Objective
from aevb.objectives.factor import permuted

from ..ppca import PPCA, make_ppca
from ..small import pair, small_model


@pytest.fixture
def model() -> PPCA:
    return make_ppca(latent_dim=3, data_dim=4, num_data=40)


def connected(model: PPCA, gamma: float) -> FactorVAE:
    objective = FactorVAE(gamma=gamma, discriminator_units=20, weight_prior=False)
    objective.connect(model.p, model.q)
    return objective.double()


def loss_and_gradients(objective: Objective, model: PPCA) -> list[Tensor]:
    torch.manual_seed(0)
    objective.num_data = 100
    objective.connect(model.p, model.q)
    loss = objective(model.p, model.q, model.x).loss
    weights = [*model.p.parameters(), *model.q.parameters()]
    return [loss, *torch.autograd.grad(loss, weights), torch.get_rng_state()]


@pytest.mark.parametrize("kl", ["analytic", "sampled"])
def test_without_a_penalty_it_is_sgvb_to_the_bit(kl: str, model: PPCA) -> None:
    neutral = FactorVAE(num_samples=2, kl=kl, gamma=0)
    pairs = zip(loss_and_gradients(neutral, model), loss_and_gradients(SGVB(2, kl=kl), model), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert not list(neutral.parameters())


def test_the_model_and_the_discriminator_each_have_the_gradient_of_their_own_loss(model: PPCA) -> None:
    objective = connected(model, gamma=5.0)
    assert objective.discriminator is not None
    of_model, own = [*model.p.parameters(), *model.q.parameters()], list(objective.parameters())
    torch.manual_seed(1)
    estimate = objective(model.p, model.q, model.x)
    found = torch.autograd.grad(estimate.loss, of_model + own)
    torch.manual_seed(1)
    posterior = model.q(model.x)
    z = posterior.rsample((1,))
    kl = torch.distributions.kl_divergence(posterior, model.p.prior())
    elbo = model.p.likelihood(z).log_prob(model.x)[0] - kl
    total_correlation = objective.discriminator(z[0]).mean()
    loss = 5 * total_correlation - elbo.mean()
    logits = objective.discriminator(torch.cat([z[0], permuted(z[0])]).detach())
    cross_entropy = F.binary_cross_entropy_with_logits(logits, torch.cat([torch.ones(40), torch.zeros(40)]).double())
    expected = torch.autograd.grad(loss, of_model) + torch.autograd.grad(cross_entropy, own)
    assert all(torch.allclose(one, other) for one, other in zip(found, expected, strict=True))
    assert torch.allclose(estimate.loss, loss)
    assert torch.allclose(estimate.extras["total_correlation"], total_correlation)
    assert torch.allclose(estimate.extras["discriminator_loss"], cross_entropy)
    assert all(weight.requires_grad for weight in own)


def test_permuted_codes_keep_each_dimension_and_lose_the_dependence() -> None:
    z = torch.randn(5000, 1).expand(-1, 3) + 0.1 * torch.randn(5000, 3)
    shuffled = permuted(z)
    assert torch.equal(z.sort(0).values, shuffled.sort(0).values)
    assert float((torch.corrcoef(shuffled.T) - torch.eye(3)).abs().max()) < 0.07


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_the_density_ratio_is_the_total_correlation_of_a_gaussian(correlation: float) -> None:
    """TC = −½ log det of the correlation matrix; and D itself tends to the logarithm of the ratio at each z."""
    covariance = torch.tensor([[4.0, 2 * correlation, 0.0], [2 * correlation, 1.0, 0.0], [0.0, 0.0, 0.25]])
    law = MultivariateNormal(torch.tensor([0.5, -0.3, 0.0]), covariance)
    exact = -0.5 * math.log(1 - correlation**2)
    p, q = pair(small_model((1, 2, 2), latent_dim=3))
    objective = FactorVAE(gamma=1.0, discriminator_layers=2, discriminator_units=50)
    objective.connect(p, q)
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.003)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 500)
    kl = torch.zeros(1)
    for _ in range(500):
        z = law.sample((1, 1500))
        optimizer.zero_grad()
        objective.penalty(law, law, z, kl)[0].backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        z = law.sample((1, 50_000))
        found = objective.penalty(law, law, z, kl)[1]["total_correlation"]
        assert float(found) == pytest.approx(exact, abs=0.03)
        assert objective.discriminator is not None
        product = torch.distributions.Normal(law.mean, covariance.diagonal().sqrt())
        ratio = law.log_prob(z[0]) - product.log_prob(z[0]).sum(-1)
        assert float((objective.discriminator(z[0]) - ratio).abs().mean()) < 0.1


def test_it_takes_any_posterior_and_must_be_connected() -> None:
    p, q = pair(small_model((1, 2, 2), posterior=posteriors.FullGaussian))
    objective = FactorVAE(num_samples=2, weight_prior=False)
    with pytest.raises(RuntimeError, match=r"FactorVAE needs objective\.connect\(p, q\) first"):
        objective(p, q, torch.rand(6, 1, 2, 2))
    objective.connect(p, q)
    objective(p, q, torch.rand(6, 1, 2, 2)).loss.backward()
    trained = [*q.parameters(), *objective.parameters()]
    assert all(weight.grad is not None and float(weight.grad.abs().sum()) > 0 for weight in trained)

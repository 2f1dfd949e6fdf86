"""What all priors have in common."""

import math
from functools import partial

import pytest
import torch
from torch.distributions import Categorical, Independent, Normal

from aevb import priors
from aevb.distributions.mixture import Mixture
from aevb.networks import initialize

from .cases import PRIORS, grid, make, recognition


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("latent_dim", [1, 2, 6])
def test_shapes(name, latent_dim):
    prior = make(name, latent_dim)()
    assert (prior.batch_shape, prior.event_shape) == ((), (latent_dim,))
    assert prior.sample((4, 3)).shape == (4, 3, latent_dim)
    assert prior.sample().shape == (latent_dim,)
    z = torch.randn(4, 3, latent_dim, dtype=torch.float64)
    assert prior.log_prob(z).shape == (4, 3)
    assert torch.allclose(prior.log_prob(z)[1, 2], prior.log_prob(z[1, 2]))


@pytest.mark.parametrize("name", PRIORS)
def test_density_integrates_to_one(name):
    z = grid()
    mass = make(name)().log_prob(z).exp().sum() * (z[1, 1] - z[0, 1]) ** 2
    assert mass.item() == pytest.approx(1, abs=5e-3)


@pytest.mark.parametrize("name", PRIORS)
def test_samples_follow_the_density(name):
    prior = make(name)()
    z = grid()
    mass = prior.log_prob(z).exp()
    mass = mass / mass.sum()
    samples = prior.sample((40_000,))
    for statistic in (torch.tanh, lambda z: z.abs().clamp(max=3), lambda z: torch.tanh(z.prod(-1, keepdim=True))):
        values = statistic(samples)
        error = values.std(0) / math.sqrt(len(samples))
        assert ((values.mean(0) - (mass[:, None] * statistic(z)).sum(0)).abs() < 5 * error + 2e-3).all()


@pytest.mark.parametrize("name", PRIORS)
def test_inference_mode_changes_nothing(name):
    """Lightning validates in it; its tensors count no changes in place."""
    prior, results = make(name), []
    for mode in (torch.no_grad, torch.inference_mode):
        torch.manual_seed(3)
        with mode():
            distribution = prior()
            z = distribution.sample((4, 3))
            results.append((z, distribution.log_prob(z), distribution.log_prob(z.clone())))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("name", ["mixture", "flow", "vamp"])
def test_learned_priors_fit_data_better_than_the_standard_normal(name):
    """Two clusters at ±2 in both dimensions together; KL(p ‖ prior) falls by at least half."""
    torch.manual_seed(0)
    prior = PRIORS[name](2)
    q = recognition().float()
    initialize(q, "normal", std=0.5)
    prior.connect(None, q)
    target = Mixture(Categorical(torch.ones(2)), Independent(Normal(torch.tensor([[-2.0, -2.0], [2.0, 2.0]]), 0.5), 1))
    entropy = -target.log_prob(target.sample((20_000,))).mean().item()
    standard = -priors.StandardNormal(2)().log_prob(target.sample((20_000,))).mean().item() - entropy
    parameters = [*prior.parameters(), *(q.parameters() if name == "vamp" else [])]
    optimizer = torch.optim.Adam(parameters, lr=0.02)
    for _ in range(300):
        loss = -prior().log_prob(target.sample((128,))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    fitted = -prior().log_prob(target.sample((2000,))).mean().item() - entropy
    assert fitted < 0.5 * standard


@pytest.mark.parametrize(
    ("make_prior", "message"),
    [
        (partial(priors.Laplace, scale=0), "scale must be a positive number, got 0"),
        (partial(priors.Laplace, scale=float("inf")), "scale must be"),
        (partial(priors.StudentT, degrees_of_freedom=-1), "degrees_of_freedom must be a positive number, got -1"),
        (partial(priors.StudentT, scale="wide"), "scale must be"),
        (partial(priors.MixtureOfGaussians, num_components=0), "num_components must be a whole number"),
        (partial(priors.VampPrior, num_components=2.5), "num_components must be a whole number"),
        (partial(priors.Flow, transforms=0), "transforms must be"),
        (partial(priors.Flow, bins=1), "bins must be a whole number of at least 2"),
        (partial(priors.Flow, hidden="wide"), "hidden must be a list"),
    ],
)
def test_bad_settings_stop_with_one_line(make_prior, message):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        make_prior(2)
    assert "\n" not in str(caught.value)

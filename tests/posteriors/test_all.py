"""What all posterior heads have in common."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from aevb import posteriors

from .heads import FLOWS, HEADS, features, grid, make


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

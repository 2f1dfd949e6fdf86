"""The particle filter against the Kalman filter, and against importance sampling where sequences are short."""

from typing import Any

import pytest
import torch

from aevb.estimators import ParticleFilter
from aevb.estimators.particle_filter import systematic

from ..small import small_model
from ..test_sequences import LENGTHS, MODELS, data, kalman, state_space


@pytest.mark.parametrize("padded", [False, True])
def test_value_is_the_kalman_filters_log_likelihood(padded: bool) -> None:
    vae, x = state_space(), data()
    lengths = LENGTHS.int().tolist() if padded else [6] * 5
    exact = torch.stack([kalman(sequence[:n]) for sequence, n in zip(x, lengths, strict=True)])
    torch.manual_seed(0)
    vae = vae.given(LENGTHS.double(), 5) if padded else vae
    found = ParticleFilter(num_particles=2000, num_filters=10).estimate(vae, x, 1000)
    assert ((found.value - exact).abs() < 4 * found.variance.sqrt() + 0.01).all()
    assert found.variance.sqrt().max() < 0.1


@pytest.mark.parametrize("name", MODELS)
def test_value_agrees_with_importance_sampling(name: str) -> None:
    vae, x = MODELS[name](), data().sigmoid().round().float()
    torch.manual_seed(0)
    expected = vae.log_marginal(x, 20_000)
    found = ParticleFilter(num_particles=1000).estimate(vae, x, 1000)
    # A q that is blind to z_{t−1} has importance weights of heavy tails: 20,000 samples are off by up to 0.4.
    torch.testing.assert_close(found.value.float(), expected, atol=0.5 if "independent" in name else 0.2, rtol=0)


def test_particles_are_drawn_by_their_weights() -> None:
    torch.manual_seed(0)
    weights = torch.tensor([[0.5, 0.0], [0.25, 1.0], [0.25, 0.0]])
    drawn = systematic(weights.log(), 1000)
    counts = torch.stack([(drawn == particle).sum(0) for particle in range(3)])
    assert (counts - 1000 * weights).abs().max() <= 1


def test_model_without_steps_is_refused() -> None:
    vae: Any = small_model((1, 4, 4))
    with pytest.raises(ValueError, match="a particle filter needs a model of sequences, such as model=deep_markov"):
        ParticleFilter().estimate(vae, torch.zeros(2, 1, 4, 4), 1000)

"""Forecasts against those of the Kalman filter."""

from functools import partial

import pytest
import torch
from torch import Tensor

from aevb import posteriors, priors
from aevb.data.module import Split
from aevb.likelihoods import FixedGaussian
from aevb.networks import MLPDecoder, MLPEncoder
from aevb.sequences import SequenceVAE
from aevb.tasks import Forecast

from ..small import small_model
from ..test_sequences import LENGTHS, MODELS, A, D, T, W, data, kalman, state_space

OBSERVED = 3


def filtered_mean(x: Tensor) -> Tensor:
    """E[z_o | x_{1:o}] of a sequence x (o, X), by Gaussian conditioning on all steps at once."""
    covariance = torch.stack(
        [torch.cat([covariance_of(s, t) for t in range(len(x))], -1) for s in range(len(x))]
    ).flatten(0, 1)
    of_x = torch.block_diag(*len(x) * [W])
    marginal = of_x @ covariance @ of_x.T + 0.25 * torch.eye(x.numel(), dtype=x.dtype)
    return (covariance @ of_x.T @ marginal.inverse() @ x.flatten())[-D:]


def covariance_of(s: int, t: int) -> Tensor:
    """Cov(z_s, z_t), steps counted from 0."""
    q = torch.tensor([0.3, 0.8], dtype=torch.float64)
    variance = sum((q * A ** (2 * n) for n in range(min(s, t) + 1)), torch.zeros(D, dtype=torch.float64))
    return (A ** abs(s - t) * variance).diag()


def test_forecast_is_that_of_the_kalman_filter() -> None:
    vae, x = state_space(), data(20)
    torch.manual_seed(0)
    task = Forecast(observed=OBSERVED, num_particles=2000, num_filters=4)
    results = task.run(vae, Split(x), Split(x), 10**6).results
    future = torch.stack([kalman(each) - kalman(each[:OBSERVED]) for each in x])
    alone = torch.stack([kalman(each[OBSERVED:]) for each in x])
    steps = T - OBSERVED
    assert results["log_likelihood_per_step"] == pytest.approx(float(future.mean()) / steps, abs=0.03)
    assert results["log_likelihood_per_step_without_past"] == pytest.approx(float(alone.mean()) / steps, abs=0.03)
    assert results["worth_of_past"] == pytest.approx(float((future - alone).mean()), abs=0.1)
    means = torch.stack([filtered_mean(each[:OBSERVED]) for each in x])
    expected = torch.stack([means * A**n @ W.T for n in range(1, steps + 1)], 1)
    continued = task.continued(vae, x, 3000).mean(0)
    torch.testing.assert_close(continued[:, :OBSERVED], x[:, :OBSERVED])
    torch.testing.assert_close(continued[:, OBSERVED:], expected, atol=0.25, rtol=0)
    assert (continued[:, OBSERVED:] - expected).square().mean().sqrt() < 0.05
    exact = (expected - x[:, OBSERVED:]).square().mean().sqrt()
    assert results["rmse"] == pytest.approx(float(exact), rel=0.05)


@pytest.mark.parametrize("name", MODELS)
def test_past_is_worth_nothing_to_a_model_of_each_step_by_itself(name: str) -> None:
    vae, x = MODELS[name](), data().sigmoid().round().float()
    torch.manual_seed(0)
    found = Forecast(observed=2, num_particles=500).run(vae, Split(x, c=LENGTHS), Split(x), 10**6)
    worth = abs(found.results["worth_of_past"])
    assert (worth < 0.2) if name == "static" else (worth > 0)
    assert list(found.pictures) == [""]
    assert not found.animations  # the steps are vectors


def test_clip_is_continued_in_a_picture_and_a_film() -> None:
    torch.manual_seed(0)
    vae = SequenceVAE(
        5 * 2,
        2,
        (5, 1, 8, 6),
        partial(MLPEncoder, hidden=[8]),
        partial(posteriors.Markov, step_dim=2, width=7),
        partial(priors.Markov, step_dim=2),
        partial(MLPDecoder, hidden=[8]),
        partial(FixedGaussian, bounded=True),
    )
    x = torch.rand(3, 5, 1, 8, 6)
    found = Forecast(observed=2, num_particles=10, sequences=2).run(vae, Split(x), Split(x), 1000)
    film = found.animations[""]
    assert len(film) == 5
    assert film[0].size == film[4].size


def test_what_cannot_be_forecast_is_refused() -> None:
    x = data().sigmoid().round().float()
    with pytest.raises(ValueError, match=r"^task=forecast needs a model of sequences, such as model=deep_markov"):
        Forecast().run(small_model((1, 4, 4)), Split(x), Split(x), 10)
    with pytest.raises(ValueError, match=r"^task\.observed must be less than the steps of a sequence, 6, got 6$"):
        Forecast(observed=6).run(MODELS["deep_markov"](), Split(x), Split(x), 10)

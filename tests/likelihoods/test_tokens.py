"""Likelihoods of tokens, against sums over all sequences."""

from itertools import product

import pytest
import torch
from torch import Tensor

from aevb.likelihoods import RecurrentTokens

T, V = 4, 3
ALL = torch.tensor(list(product(range(V), repeat=T))).float()


def likelihood(bars: int) -> RecurrentTokens:
    torch.manual_seed(0)
    head = RecurrentTokens((5,), (T,), vocabulary=V, width=6, bars=bars, embedding=4)
    for weight in head.parameters():
        torch.nn.init.normal_(weight, std=0.7)
    return head


def features(count: int = 2) -> Tensor:
    return torch.randn(1, count, 5, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("bars", [1, 2, 4])
def test_probabilities_of_all_sequences_sum_to_one(bars: int) -> None:
    p = likelihood(bars)(features(1))
    assert (p.batch_shape, p.event_shape) == ((1, 1), (T,))
    log_p = p.log_prob(ALL.unsqueeze(1).unsqueeze(1))
    assert log_p.shape == (V**T, 1, 1)
    assert log_p.logsumexp(0).item() == pytest.approx(0, abs=1e-5)
    assert log_p.std() > 0.1


@pytest.mark.parametrize("bars", [1, 2])
def test_draws_have_these_probabilities(bars: int) -> None:
    p = likelihood(bars)(features(1))
    probabilities = p.log_prob(ALL.unsqueeze(1).unsqueeze(1)).exp()[:, 0, 0]
    drawn = p.sample((4000,))[:, 0, 0]
    assert drawn.dtype == torch.float32
    shares = (drawn.unsqueeze(1) == ALL).all(-1).float().mean(0)
    assert ((shares - probabilities).abs() < 5 * (probabilities / 4000).sqrt() + 1e-3).all()


@pytest.mark.parametrize("bars", [1, 2, 4])
def test_steps_have_the_logits_of_one_pass(bars: int) -> None:
    p = likelihood(bars)(features())
    x = torch.randint(V, (1, 2, T)).float()
    expected, state, previous = p.conditionals(x).logits, None, p.start.expand(1, 2, 1)
    for step in range(T):
        conditional, state = p.step(previous, step, state)
        torch.testing.assert_close(conditional.logits[..., 0, :], expected[..., step, :])
        previous = x[..., step : step + 1]


@pytest.mark.parametrize("bars", [1, 2, 4])
def test_a_change_in_a_bar_changes_the_logits_of_later_steps_of_this_bar_alone(bars: int) -> None:
    p, bar = likelihood(bars)(features()), T // bars
    x = torch.randint(V, (1, 2, T)).float()
    for changed in range(T):
        other = x.clone()
        other[..., changed] = (x[..., changed] + 1) % V
        difference = (p.conditionals(other).logits - p.conditionals(x).logits).abs().amax((0, 1, 3))
        same_bar = [step // bar == changed // bar and step > changed for step in range(T)]
        assert (difference > 0).tolist() == same_bar


def test_all_bars_depend_on_z() -> None:
    head, x = likelihood(2), torch.zeros(1, 2, T)
    z = features()
    difference = (head(z + 1).conditionals(x).logits - head(z).conditionals(x).logits).abs().amax((0, 1, 3))
    assert (difference > 1e-4).all()


def test_the_mean_is_the_most_probable_token_of_each_step() -> None:
    p = likelihood(2)(features())
    x = p.mean
    assert torch.equal(p.conditionals(x).logits.argmax(-1).float(), x)


def test_bad_settings_and_data_stop_with_one_line() -> None:
    with pytest.raises(ValueError, match=r"^needs sequences of tokens of 3 bars of equal length, got \[4\]$"):
        RecurrentTokens((5,), (T,), vocabulary=V, bars=3)
    with pytest.raises(ValueError, match=r"RecurrentTokens needs data in \{0, …, 2\}, got 3 among values from 0 to 3"):
        likelihood(1).check(torch.tensor([[0.0, 1.0, 2.0, 3.0]]))

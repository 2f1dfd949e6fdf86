"""Sequences against the joint Gaussian that they make up, and against sums over all sequences of an alphabet."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, MultivariateNormal, kl_divergence

from aevb.distributions.gaussian import diagonal_gaussian
from aevb.distributions.kl import kl_estimate, kl_of_steps, sample_and_kl
from aevb.distributions.sequence import Autoregressive, Steps

T, D = 3, 2
A = torch.tensor([[0.5, -1.0], [0.4, 0.3]], dtype=torch.float64)


def chain(mean: Tensor, lengths: Tensor | None = None) -> Autoregressive:
    """z_t ~ N(A z_{t−1} + mean_t, ½²) from z_0 = 0; mean (B, T, D)."""

    def transition(z: Tensor, first: int, state: None) -> tuple[Distribution, None]:
        center = z @ A.T + mean.narrow(-2, first, z.shape[-2])
        return diagonal_gaussian(center, torch.full_like(center, 0.25).log()), None

    return Autoregressive(transition, mean.shape[:-2], T, torch.zeros(D, dtype=torch.float64), lengths, flat=True)


def joint(mean: Tensor) -> MultivariateNormal:
    """z = L mean + ½ L ε, L of blocks A^(t−s)."""
    powers = [torch.linalg.matrix_power(A, n) for n in range(T)]
    rows = [
        torch.cat([powers[t - s] if s <= t else torch.zeros(D, D, dtype=torch.float64) for s in range(T)], dim=1)
        for t in range(T)
    ]
    mixing = torch.cat(rows)
    return MultivariateNormal(mean.flatten(-2) @ mixing.T, 0.25 * mixing @ mixing.T)


def means(count: int) -> Tensor:
    return torch.randn(count, T, D, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_density_is_that_of_the_joint_gaussian() -> None:
    mean, z = means(4), torch.randn(7, 4, T * D, dtype=torch.float64)
    torch.testing.assert_close(chain(mean).log_prob(z), joint(mean).log_prob(z))


def test_draws_have_the_moments_of_the_joint_gaussian() -> None:
    torch.manual_seed(0)
    mean = means(1)
    z = chain(mean).rsample((100_000,))[:, 0]
    torch.testing.assert_close(z.mean(0), joint(mean).mean[0], atol=0.02, rtol=0)
    torch.testing.assert_close(z.T.cov(), joint(mean).covariance_matrix[0], atol=0.02, rtol=0.02)


@pytest.mark.parametrize("kl", ["auto", "sampled"])
def test_kl_of_steps_sums_to_that_of_the_joint(kl: str) -> None:
    torch.manual_seed(0)
    q_mean, p_mean = means(3), means(4)[3]
    q, p = chain(q_mean), chain(p_mean)
    exact = torch.stack([kl_divergence(joint(mean), joint(p_mean)) for mean in q_mean])
    tolerance = 1e-12 if kl == "auto" else 0.1  # the conditional KL of these chains is the same at every draw
    torch.testing.assert_close(sample_and_kl(q, p, 20_000, kl)[1], exact, atol=tolerance, rtol=0)
    torch.testing.assert_close(kl_estimate(q, p, q.rsample((20_000,)), kl), exact, atol=tolerance, rtol=0)


def test_independent_steps_have_a_closed_form() -> None:
    zero, mean = torch.zeros(T, D), means(4).float()
    q, p = Steps(diagonal_gaussian(mean, 0 * mean), flat=True), Steps(diagonal_gaussian(zero, zero), flat=True)
    torch.testing.assert_close(kl_divergence(q, p), 0.5 * mean.square().sum((-1, -2)))
    with pytest.raises(NotImplementedError):
        kl_divergence(chain(means(4)), p)


@pytest.mark.parametrize("autoregressive", [True, False])
def test_padding_contributes_exactly_nothing(autoregressive: bool) -> None:
    """Beyond its length a sequence has no density and no KL, and neither its values nor its parameters a gradient."""
    lengths = torch.tensor([3.0, 1.0, 2.0])

    def make(mean: Tensor) -> Steps:
        return chain(mean, lengths) if autoregressive else Steps(diagonal_gaussian(mean, 0 * mean), lengths, flat=True)

    mean, p_mean = means(3).requires_grad_(), means(4)[3:].expand(3, T, D)
    q, p = make(mean), make(p_mean)
    z = torch.randn(5, 3, T * D, dtype=torch.float64, requires_grad=True)
    log_prob = q.log_prob(z)
    if autoregressive:
        for number, size in enumerate((D * lengths).int().tolist()):
            whole = joint(mean[number].detach())
            marginal = MultivariateNormal(whole.mean[:size], whole.covariance_matrix[:size, :size])
            torch.testing.assert_close(log_prob[:, number], marginal.log_prob(z[:, number, :size]))
    (log_prob.sum() + kl_of_steps(q, p, z).sum()).backward()
    padding = ~q.exists
    assert (z.grad.unflatten(-1, (T, D))[:, padding] == 0).all()
    assert (mean.grad[padding] == 0).all()
    assert (mean.grad[~padding] != 0).all()
    other = torch.where(padding.repeat_interleave(D, -1), 100.0, z)
    assert torch.equal(q.log_prob(other), log_prob)
    assert (kl_of_steps(q, p, z)[..., padding] == 0).all()
    assert (q.rsample((5,)).unflatten(-1, (T, D))[:, padding] == 0).all()


class Codes(nn.Module):
    """p(k_t | k_<t) of codes in {0, …, K − 1} by a recurrent network: a prior over codes."""

    def __init__(self, codes: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.gru, self.out = nn.Embedding(codes, 4), nn.GRU(4, 5, batch_first=True), nn.Linear(5, codes)

    def network(self, k: Tensor, first: int, state: Any) -> tuple[Distribution, Tensor]:
        states, state = self.gru(self.embed(k.long()).flatten(0, -3), state)
        return Categorical(logits=3 * self.out(states).view(*k.shape, -1)), state

    def prior(self, steps: int, batch: tuple[int, ...] = ()) -> Autoregressive:
        return Autoregressive(self.network, batch, steps, torch.zeros(()))


def test_probabilities_of_all_sequences_sum_to_one() -> None:
    every = torch.tensor(list(product(range(3), repeat=4)))
    log_prob = Codes(3).prior(4, (len(every),)).log_prob(every)
    torch.testing.assert_close(log_prob.exp().sum(), torch.tensor(1.0))
    assert log_prob.std() > 0.1


def test_one_pass_over_all_steps_equals_step_by_step() -> None:
    model, k = Codes(3), torch.tensor([[0, 2, 1, 1], [2, 2, 0, 1]])
    total, state, before = torch.zeros(2), None, torch.zeros(2, 1)
    for step in range(4):
        conditional, state = model.network(before, step, state)
        before = k[:, step : step + 1]
        total = total + conditional.log_prob(before).squeeze(1)
    torch.testing.assert_close(model.prior(4, (2,)).log_prob(k), total)


def test_draws_of_codes_have_their_probabilities() -> None:
    prior = Codes(2).prior(3, (1,))
    every = torch.tensor(list(product(range(2), repeat=3)))
    probabilities = Codes(2).prior(3, (8,)).log_prob(every).exp()
    torch.manual_seed(0)
    drawn = prior.sample((20_000,))[:, 0]
    counts = (drawn.long() @ torch.tensor([4, 2, 1])).bincount(minlength=8)
    torch.testing.assert_close(counts / 20_000, probabilities, atol=0.02, rtol=0)

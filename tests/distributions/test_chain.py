"""Chains of conditionals against the joint Gaussian that they make up."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal, kl_divergence

from aevb.distributions.chain import Chain, Program
from aevb.distributions.kl import kl_estimate, kl_per_block

W = torch.tensor([[0.5, -1.0], [2.0, 0.3], [0.0, 0.7]], dtype=torch.float64)


def gaussian(mean: Tensor, scale: float) -> Distribution:
    return Independent(Normal(mean, scale), 1)


def chain(mean: Tensor) -> Chain:
    """z_2 ~ N(mean, 1) of two dimensions, then z_1 ~ N(W z_2, ½²) of three; z = [z_1, z_2]."""

    def program() -> Program:
        z_2 = yield gaussian(mean, 1.0)
        yield gaussian(z_2 @ W.T, 0.5)

    return Chain(program, sizes=(3, 2), order=(1, 0))


def joint(mean: Tensor) -> MultivariateNormal:
    identity = torch.eye(2, dtype=torch.float64)
    top = torch.cat([W @ W.T + 0.25 * torch.eye(3), W], dim=1)
    bottom = torch.cat([W.T, identity], dim=1)
    return MultivariateNormal(torch.cat([mean @ W.T, mean], dim=-1), torch.cat([top, bottom]))


def test_density_is_that_of_the_joint_gaussian() -> None:
    mean = torch.randn(4, 2, dtype=torch.float64)
    z = torch.randn(7, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(chain(mean).log_prob(z), joint(mean).log_prob(z))


def test_draws_have_the_moments_of_the_joint_gaussian() -> None:
    torch.manual_seed(0)
    mean = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    z = chain(mean).rsample((200_000,))
    assert z.shape == (200_000, 1, 5)
    torch.testing.assert_close(z[:, 0].mean(0), joint(mean).mean[0], atol=0.02, rtol=0)
    torch.testing.assert_close(z[:, 0].T.cov(), joint(mean).covariance_matrix[0], atol=0.05, rtol=0.02)


def test_gradients_reach_what_the_first_block_depends_on() -> None:
    mean = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    chain(mean).rsample((3,)).sum().backward()
    torch.testing.assert_close(mean.grad, 3 * (1 + W.sum(0))[None])
    assert not chain(mean).sample((3,)).requires_grad


def test_unconditional_block_is_drawn_for_every_sample() -> None:
    def program() -> Program:
        yield gaussian(torch.zeros(4, 2), 1.0)
        yield gaussian(torch.zeros(3), 1.0)

    z = Chain(program, (2, 3), (0, 1)).rsample((50,))
    assert z.shape == (50, 4, 5)
    assert len(z[..., 4].flatten().unique()) == 200


@pytest.mark.parametrize("analytic", [True, False])
def test_kl_of_blocks_sums_to_that_of_the_joint(analytic: bool) -> None:
    torch.manual_seed(0)
    q_mean, p_mean = torch.randn(3, 2, dtype=torch.float64), torch.randn(2, dtype=torch.float64)
    q, p = chain(q_mean), chain(p_mean)
    terms = kl_per_block(q, p, q.rsample((20_000,)), "auto" if analytic else "sampled")
    exact = torch.stack([kl_divergence(joint(mean), joint(p_mean)) for mean in q_mean])
    torch.testing.assert_close(sum(terms), exact, atol=1e-12 if analytic else 0.1, rtol=0)
    torch.testing.assert_close(terms[0], torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0)


def test_kl_is_sampled_where_q_draws_a_block_before_what_p_conditions_on() -> None:
    """q draws z_1 first and p draws z_2 first: only the block that p draws first has a closed form."""
    torch.manual_seed(0)

    def upwards() -> Program:
        z_1 = yield gaussian(torch.zeros(1, 3, dtype=torch.float64), 1.0)
        yield gaussian(z_1 @ W, 1.0)

    q, p = Chain(upwards, (3, 2), (0, 1)), chain(torch.zeros(2, dtype=torch.float64))
    z = q.rsample((50_000,))
    below, top = kl_per_block(q, p, z)
    torch.testing.assert_close(below + top, (q.log_prob(z) - p.log_prob(z)).mean(0), atol=0.1, rtol=0)
    expected = 0.5 * (z[..., :3] @ W).square().sum(-1).mean()  # KL(N(m, 1) ‖ N(0, 1)) = ½ m²
    torch.testing.assert_close(top[0], expected)


def test_estimate_from_given_draws_takes_the_closed_forms_too() -> None:
    """With the closed form of each block, one draw gives the KL of these chains exactly."""
    torch.manual_seed(0)
    q_mean, p_mean = torch.randn(3, 2, dtype=torch.float64), torch.randn(2, dtype=torch.float64)
    q, p = chain(q_mean), chain(p_mean)
    exact = torch.stack([kl_divergence(joint(mean), joint(p_mean)) for mean in q_mean])
    torch.testing.assert_close(kl_estimate(q, p, q.rsample((1,)), "auto"), exact)


def test_redrawn_blocks_follow_their_conditional_on_the_kept_ones() -> None:
    torch.manual_seed(0)
    q = chain(torch.zeros(2, dtype=torch.float64))
    top = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    z = q.redraw([None, top], (100_000,))
    assert (z[:, 3:] == top).all()
    torch.testing.assert_close(z[:, :3].mean(0), top[0] @ W.T, atol=0.01, rtol=0)
    torch.testing.assert_close(z[:, :3].std(0), torch.full((3,), 0.5, dtype=torch.float64), atol=0.01, rtol=0)


def test_conditionals_of_draws_are_those_of_the_chain_at_them() -> None:
    q = chain(torch.randn(4, 2, dtype=torch.float64))
    for _ in range(2):  # the first run continues what the constructor started
        z, conditionals = q.rsample_and_conditionals((3,))
        for known, again in zip(conditionals, q.conditionals(z), strict=True):
            torch.testing.assert_close(known.mean, again.mean)

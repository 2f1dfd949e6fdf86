"""Gaussian likelihoods."""

import math

import pytest
import torch

from aevb.likelihoods import (
    FixedGaussian,
    GaussianPerValue,
    GaussianUniformMixture,
    NegativeBinomial,
    OptimalGaussian,
    ScalarGaussian,
    StudentT,
)


def test_where_the_variance_is_shared() -> None:
    shape = (2, 3, 4)
    assert GaussianPerValue((5,), shape).log_variance.shape == shape
    assert ScalarGaussian((5,), shape).log_variance.shape == ()
    assert NegativeBinomial((5,), shape).log_dispersion.shape == shape
    assert [name for name, _ in FixedGaussian((5,), shape).named_parameters()] == ["layer.weight", "layer.bias"]


def test_a_whole_sigma_is_a_number_like_any_other() -> None:
    head, h = FixedGaussian((3,), (1, 2, 2), sigma=1), torch.zeros(2, 5, 3)
    assert head(h).sample().shape == (2, 5, 1, 2, 2)
    assert head(h).log_prob(torch.zeros(5, 1, 2, 2)).dtype == torch.float32


@pytest.mark.parametrize("learn", [True, False])
def test_single_numbers_are_learned_on_request(learn: bool) -> None:
    student = StudentT((3,), (1, 1, 1), learn_degrees_of_freedom=learn)
    mixture = GaussianUniformMixture((3,), (1, 1, 1), learn_uniform_weight=learn)
    for head, parameter in ((student, student.log_degrees_above_one), (mixture, mixture.weight_logit)):
        head(torch.randn(1, 4, 3)).log_prob(torch.rand(4, 1, 1, 1)).sum().backward()
        assert (parameter.grad is not None and float(parameter.grad) != 0) is learn


class TestOptimalGaussian:
    """In training the variance is fitted to the minibatch, in evaluation it is the running one."""

    @pytest.fixture
    def head(self) -> OptimalGaussian:
        torch.manual_seed(0)
        return OptimalGaussian((3,), (1, 4, 4), min_scale=1e-6).double()

    @pytest.fixture
    def h(self) -> torch.Tensor:
        return torch.randn(3, 10, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    @pytest.fixture
    def x(self) -> torch.Tensor:
        return torch.rand(10, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    def test_total_is_the_profile_likelihood(self, head: OptimalGaussian, h: torch.Tensor, x: torch.Tensor) -> None:
        distribution = head(h)
        variance = (x - distribution.mean).square().mean()
        count = 3 * 10 * 16
        total = distribution.log_prob(x).sum()
        torch.testing.assert_close(total, -0.5 * count * (torch.log(2 * math.pi * variance) + 1))

    def test_gradient_is_that_of_the_profile_likelihood(
        self, head: OptimalGaussian, h: torch.Tensor, x: torch.Tensor
    ) -> None:
        head(h).log_prob(x).sum().backward()
        gradient = head.layer.weight.grad
        head.zero_grad()
        (-0.5 * 3 * 10 * 16 * (x - head(h).mean).square().mean().log()).backward()
        torch.testing.assert_close(gradient, head.layer.weight.grad)

    def test_no_other_variance_is_better(self, head: OptimalGaussian, h: torch.Tensor, x: torch.Tensor) -> None:
        best = head(h).log_prob(x).sum()
        variance = float((x - head(h).mean).square().mean().detach())
        for factor in (0.9, 1.1):
            other = FixedGaussian((3,), (1, 4, 4), sigma=math.sqrt(factor * variance)).double()
            other.layer.load_state_dict(head.layer.state_dict())
            assert other(h).log_prob(x).sum() < best

    def test_evaluation_uses_the_running_variance(
        self, head: OptimalGaussian, h: torch.Tensor, x: torch.Tensor
    ) -> None:
        for _ in range(3):
            head(h).log_prob(x)
        variance = (x - head(h).mean).square().mean()
        torch.testing.assert_close(head.variance, variance.detach())
        head.eval()
        expected = FixedGaussian((3,), (1, 4, 4), sigma=float(variance.detach().sqrt())).double()
        expected.layer.load_state_dict(head.layer.state_dict())
        y = x[:4] + 0.3
        torch.testing.assert_close(head(h[:, :4]).log_prob(y), expected(h[:, :4]).log_prob(y))
        torch.testing.assert_close(head.variance, variance.detach())

    def test_running_variance_follows_training_only(
        self, head: OptimalGaussian, h: torch.Tensor, x: torch.Tensor
    ) -> None:
        with torch.no_grad():
            head(h).log_prob(x)
        head(h).sample()
        assert int(head.num_updates) == 0
        head(h).log_prob(x)
        first = float(head.variance)
        for _ in range(300):
            head(h).log_prob(x + 2)
        target = float((x + 2 - head(h).mean).square().mean())
        assert abs(float(head.variance) - target) < 0.1 * abs(first - target)
        assert {"variance", "num_updates"} <= set(head.state_dict())

"""What is particular to single heads."""

import math

import pytest
import torch
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import MixtureSameFamily

from aevb.distributions.levels import DiscretizedLogisticDistribution
from aevb.likelihoods import (
    Bernoulli,
    Beta,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogisticMixture,
    FixedGaussian,
    Gaussian,
    GaussianPerValue,
    GaussianUniformMixture,
    NegativeBinomial,
    OptimalGaussian,
    ScalarGaussian,
    StudentT,
)
from aevb.likelihoods.base import positive


def test_positive_is_the_softplus_floor_of_the_logarithm() -> None:
    raw = torch.linspace(-30, 10, 81, dtype=torch.float64)
    floor = 1e-3
    expected = math.log(floor) + torch.nn.functional.softplus(raw - math.log(floor), threshold=100)
    torch.testing.assert_close(positive(raw, floor).log(), expected)


@pytest.mark.parametrize("head", [Gaussian, GaussianPerValue, ScalarGaussian, FixedGaussian, OptimalGaussian, StudentT])
def test_locations_are_bounded_on_request(head: type) -> None:
    h = 10 * torch.randn(1, 50, 3)
    bounded = head((3,), (1, 2, 2), bounded=True)
    free = head((3,), (1, 2, 2), bounded=False)
    free.load_state_dict(bounded.state_dict())
    torch.testing.assert_close(free(h).mean.sigmoid(), bounded(h).mean)


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


def test_mixture_is_torchs_mixture() -> None:
    torch.manual_seed(0)
    head = DiscretizedLogisticMixture((3,), (2, 3, 3), components=4)
    h, x = torch.randn(2, 5, 3), torch.randint(0, 256, (5, 2, 3, 3)) / 255
    logits, loc, scale = (raw.movedim(2, -1) for raw in head.project(h))
    components = DiscretizedLogisticDistribution(loc, positive(scale, 5e-4), 256)
    expected = MixtureSameFamily(TorchCategorical(logits=logits), components, validate_args=False)
    torch.testing.assert_close(head(h).log_prob(x), expected.log_prob(x).sum((-3, -2, -1)))
    torch.testing.assert_close(head(h).mean, expected.mean)


def test_a_uniform_over_256_levels_has_eight_bits_per_dim() -> None:
    head = Categorical((3,), (1, 3, 2))
    torch.nn.init.zeros_(head.layer.weight)
    torch.nn.init.zeros_(head.layer.bias)
    log_prob = head(torch.randn(1, 5, 3)).log_prob(torch.randint(0, 256, (5, 1, 3, 2)) / 255)
    torch.testing.assert_close(-log_prob / (6 * math.log(2)), torch.full((1, 5), 8.0))


def test_torchs_continuous_bernoulli_is_met_where_it_is_right() -> None:
    logits = torch.cat([-torch.logspace(-3, 1, 30), torch.logspace(-3, 1, 30)]).double().view(-1, 1, 1, 1)
    mine = ContinuousBernoulli((1,), (1, 1, 1)).distribution(logits)
    torchs = torch.distributions.ContinuousBernoulli(logits=logits)
    x = torch.rand(50, 1, 1, 1, 1, dtype=torch.float64)
    torch.testing.assert_close(mine.log_prob(x), torchs.log_prob(x), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(mine.mean, torchs.mean, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("logit", [0.0, 1e-8, 1e-3, 0.199, 0.2, 0.201, 5.0, 15.0, 17.0, 100.0, 1e4])
@pytest.mark.parametrize("sign", [-1, 1])
def test_continuous_bernoulli_is_normalized_for_every_logit(logit: float, sign: int) -> None:
    """In float32. The integral is taken over the 40/logit next to the end where the mass is."""
    width, steps = min(1.0, 40 / max(logit, 1e-9)), 20_000
    distance = (torch.arange(steps) + 0.5) / steps * width
    x = distance if sign < 0 else 1 - distance
    distribution = ContinuousBernoulli((1,), (1, 1, 1)).distribution(torch.tensor(sign * logit))
    assert float(distribution.log_prob(x).double().exp().sum()) * width / steps == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("logit", [0.0, 1e-5, 1e-3, -0.7, 4.0, -30.0])
def test_quantiles_of_the_continuous_bernoulli_invert_its_distribution_function(logit: float) -> None:
    u = torch.linspace(0, 1, 101, dtype=torch.float64)
    x = ContinuousBernoulli((1,), (1, 1, 1)).distribution(torch.tensor(logit, dtype=torch.float64)).icdf(u)
    expected = torch.expm1(logit * x) / math.expm1(logit) if logit else x
    torch.testing.assert_close(expected, u, rtol=0, atol=2e-5)


def test_beta_bins_of_256_grey_levels_cover_everything() -> None:
    """The density is on [−1/510, 1 + 1/510]: each grey level is the middle of a bin of width 1/255."""
    support = Beta((3,), (1, 1, 1))(torch.randn(1, 1, 3)).base_dist.support
    assert support.upper_bound - support.lower_bound == pytest.approx(256 / 255)


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


def test_bernoulli_log_probability_and_its_derivatives() -> None:
    logits = torch.tensor([-200.0, -30.0, -3.0, 0.0, 0.4, 17.0, 200.0])
    head = Bernoulli((1,), (1, 1, 1))
    for x in (0.0, 0.3, 1.0):
        mine = head.distribution(logits).log_prob(torch.tensor(x))
        exact = x * logits.double() - torch.nn.functional.softplus(logits.double(), threshold=1000)
        torch.testing.assert_close(mine.double(), exact, rtol=2e-7, atol=2e-7)

    def log_prob(logits: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return head.distribution(logits).log_prob(x)

    logits = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)
    x = torch.rand(2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(log_prob, (logits, x))
    assert torch.autograd.gradgradcheck(log_prob, (logits, x))
    each = torch.func.vmap(torch.func.grad(lambda logits: log_prob(logits, x).sum()))(logits)
    torch.testing.assert_close(each, (x - logits.sigmoid()).detach())

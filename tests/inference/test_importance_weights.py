"""Running sums of importance weights against sums over all of them."""

import math

import torch

from aevb.inference.importance_weights import LogWeights


def test_sums_by_parts_are_those_over_all_weights() -> None:
    torch.manual_seed(0)
    log_w = 3 * torch.randn(50, 4, dtype=torch.float64) - 2000  # below the smallest double when exponentiated
    weights = LogWeights()
    for part in log_w.split([7, 30, 13]):
        weights.add(part)
    w = (log_w + 2000).exp()
    assert weights.count == 50
    torch.testing.assert_close(weights.log_mean, w.mean(0).log() - 2000)
    torch.testing.assert_close(weights.effective_sample_size, w.sum(0).square() / w.square().sum(0))
    torch.testing.assert_close(weights.variance, w.var(0) / (50 * w.mean(0).square()))


def test_variance_of_a_single_weight_is_infinite() -> None:
    weights = LogWeights()
    weights.add(torch.zeros(1, 3))
    assert weights.variance.tolist() == [math.inf] * 3

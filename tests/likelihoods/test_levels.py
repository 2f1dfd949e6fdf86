"""Categorical and discretized logistic likelihoods."""

import math

import torch
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import MixtureSameFamily

from aevb.distributions.levels import DiscretizedLogisticDistribution
from aevb.likelihoods import (
    Categorical,
    DiscretizedLogisticMixture,
)
from aevb.likelihoods.base import positive


def test_mixture_is_torchs_mixture() -> None:
    torch.manual_seed(0)
    head = DiscretizedLogisticMixture((3,), (2, 3, 3), num_components=4)
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

"""A network whose output is a Gaussian."""

import torch
from torch.distributions import Normal

from aevb.networks.gaussian import GaussianMLP


def test_mean_and_log_variance_are_linear_in_the_features_of_the_mlp() -> None:
    network = GaussianMLP(4, 3, hidden=[5])
    h, z = torch.randn(2, 6, 4), torch.randn(2, 6, 3)
    mean, log_variance = network.layer(network.mlp(h)).chunk(2, dim=-1)
    distribution = network(h)
    assert (distribution.batch_shape, distribution.event_shape) == ((2, 6), (3,))
    expected = Normal(mean, log_variance.exp().sqrt()).log_prob(z).sum(-1)
    torch.testing.assert_close(distribution.log_prob(z), expected)


def test_parameters_are_in_float32_at_least() -> None:
    network = GaussianMLP(4, 3, hidden=[]).bfloat16()
    assert {parameter.dtype for parameter in network.parameters_of(torch.randn(2, 4))} == {torch.float32}

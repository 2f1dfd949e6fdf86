"""Normalizing flows over a Gaussian, conditioned on features."""

import pytest
import torch
from torch.distributions import (
    Distribution,
    Normal,
)

from ..posteriors.heads import FLOWS, features, make


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("latent_dim", [1, 3])
def test_flow_density_of_samples_is_the_change_of_variables_by_the_jacobian(name, latent_dim):
    posterior = make(name, latent_dim)(features(1))

    def flow(noise: torch.Tensor) -> torch.Tensor:
        return (posterior.loc + posterior.scale * posterior.transform(noise[None]))[0]

    torch.manual_seed(5)
    z, log_prob = posterior.rsample_and_log_prob((20,))
    torch.manual_seed(5)
    noise = torch.randn(20, latent_dim, dtype=torch.float64)
    for sample, log_density, epsilon in zip(z[:, 0], log_prob[:, 0], noise, strict=True):
        assert torch.allclose(flow(epsilon), sample)
        jacobian = torch.autograd.functional.jacobian(flow, epsilon)
        expected = Normal(0, 1).log_prob(epsilon).sum() - jacobian.slogdet().logabsdet
        assert torch.allclose(log_density, expected)


@pytest.mark.parametrize("name", FLOWS)
def test_flow_density_is_the_same_from_the_noise_or_by_the_inverse(name):
    posterior = make(name, 4)(features())
    z, log_prob = posterior.rsample_and_log_prob((10,))
    assert torch.allclose(log_prob, posterior.log_prob(z), atol=1e-8)


def test_importing_the_flows_leaves_the_checks_of_torchs_distributions_on():
    assert Distribution._validate_args == __debug__
    with pytest.raises(ValueError, match="scale"):
        Normal(0.0, -1.0)

"""The flow prior."""

import pytest
import torch
from torch.distributions import Independent, Normal

from aevb import priors

from .cases import make


@pytest.mark.parametrize("latent_dim", [1, 2, 5])
def test_flow_starts_as_the_standard_normal(latent_dim):
    prior = priors.Flow(latent_dim)()
    z = 3 * torch.randn(20, latent_dim)
    assert torch.allclose(
        prior.log_prob(z), Independent(Normal(torch.zeros(latent_dim), 1.0), 1).log_prob(z), atol=1e-5
    )


def test_flow_density_of_samples_kept_or_computed_by_the_inverse():
    prior = make("flow", 4)()
    z = prior.sample((20,))
    assert torch.allclose(prior.log_prob(z), prior.log_prob(z.clone()), atol=1e-8)
    kept = prior.rsample((20,))
    assert torch.allclose(prior.log_prob(kept), prior.log_prob(kept.clone()), atol=1e-8)


def test_flow_density_is_the_change_of_variables_by_the_jacobian():
    prior = make("flow", 3)()
    for z in prior.sample((5,)):
        noise = prior.transform.inv(z)
        jacobian = torch.autograd.functional.jacobian(prior.transform.inv, z)
        expected = Normal(0, 1).log_prob(noise).sum() + jacobian.slogdet().logabsdet
        assert torch.allclose(prior.log_prob(z), expected)

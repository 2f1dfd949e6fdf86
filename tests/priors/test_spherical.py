"""The uniform prior on the sphere."""

import math

import pytest
import torch

from aevb import priors


@pytest.mark.parametrize(("dim", "area"), [(2, 2 * math.pi), (3, 4 * math.pi), (4, 2 * math.pi**2)])
def test_its_density_is_one_over_the_area(dim, area):
    prior = priors.UniformSphere(dim)
    z = prior().sample((7,))
    assert torch.allclose(prior().log_prob(z), torch.tensor(-math.log(area)))
    assert not list(prior.parameters())
    assert not prior.state_dict()


def test_a_sphere_has_two_dimensions_or_more():
    with pytest.raises(ValueError, match="latent_dim must be a whole number of at least 2, got 1"):
        priors.UniformSphere(1)

"""Mixtures of distributions."""

import pytest
import scipy.stats
import torch
from torch.distributions import Categorical, Independent, Normal

from aevb.distributions.mixture import Mixture


def test_mixture_draws_every_component_as_often_as_its_weight():
    torch.manual_seed(0)
    weights = torch.tensor([0.5, 0.0, 0.3, 0.2])
    components = Independent(Normal(torch.arange(4.0).double()[:, None].expand(4, 2), 1e-3), 1)
    mixture = Mixture(Categorical(weights), components)
    samples = mixture.sample((100, 200))
    chosen = samples[..., 0].round().long().flatten()
    assert torch.equal(chosen, samples[..., 1].round().long().flatten())
    counts = chosen.bincount(minlength=4)
    assert counts[1] == 0
    assert scipy.stats.chisquare(counts[[0, 2, 3]], 20_000 * weights[[0, 2, 3]].double() / weights.sum()).pvalue > 1e-3
    # Neighbours are independent, so no order of the components is left in the samples, and no draw is used twice.
    pairs = (chosen[1:] == chosen[:-1]).double().mean().item()
    assert pairs == pytest.approx(0.38, abs=0.025)
    assert samples.unique().numel() == samples.numel()

"""The prior over codes, against sums over all codes."""

import math
from functools import partial

import pytest
import torch

from aevb.networks import EMACodebook
from aevb.priors import Codes

from ..codes import QUANTIZERS, SMALL


def make(network: object = SMALL, quantizer: str = "codebook") -> Codes:
    torch.manual_seed(0)
    prior = Codes(2 * 3, code_dim=2, quantizer=QUANTIZERS[quantizer], network=network)
    for weight in prior.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return prior


def all_codes(prior: Codes) -> torch.Tensor:
    return torch.cartesian_prod(*[torch.arange(prior.quantizer.num_codes)] * 3)


@pytest.mark.parametrize("network", [SMALL, None], ids=["autoregressive", "uniform"])
@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_probabilities_of_all_codes_sum_to_one(network: object, quantizer: str) -> None:
    prior = make(network, quantizer)
    z = prior.quantizer.vectors(all_codes(prior)).flatten(-2)
    log_p = prior().log_prob(z)
    assert log_p.logsumexp(0).item() == pytest.approx(0, abs=1e-5)
    if network is None:
        torch.testing.assert_close(log_p, torch.full_like(log_p, -3 * math.log(prior.quantizer.num_codes)))
    else:
        assert log_p.std() > 0.1


def test_draws_have_these_probabilities() -> None:
    prior = make()
    codes = all_codes(prior)
    probabilities = prior().log_prob(prior.quantizer.vectors(codes).flatten(-2)).exp()
    drawn = prior.quantizer.nearest(prior().sample((4000,)).unflatten(-1, (3, 2)))
    shares = (drawn.unsqueeze(1) == codes).all(-1).float().mean(0)
    assert ((shares - probabilities).abs() < 5 * (probabilities / 4000).sqrt() + 1e-3).all()


def test_bad_settings_stop_with_one_line() -> None:
    with pytest.raises(ValueError, match=r"^latent_dim must be a multiple of code_dim, 2, got 5$"):
        Codes(5, code_dim=2, quantizer=QUANTIZERS["codebook"])
    with pytest.raises(ValueError, match=r"^num_codes must be"):
        Codes(4, code_dim=2, quantizer=partial(EMACodebook, num_codes=1))

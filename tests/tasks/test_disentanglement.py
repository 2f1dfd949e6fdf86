"""Disentanglement scores: exact on codes made for it, and against scikit-learn and scipy."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy as scipy_entropy
from sklearn.metrics import mutual_info_score

from aevb.data.module import Split
from aevb.tasks import Disentanglement
from aevb.tasks.disentanglement import (
    FactorSampler,
    disentanglement_and_completeness,
    entropy,
    information_gap,
    mutual_information,
)

from .known import ROWS, collapsed_model

QUICK = Disentanglement(votes=200, vote_size=30, trees=5)
FACTORS = torch.cartesian_prod(torch.arange(3), torch.arange(4), torch.arange(5)).repeat(10, 1)


def split(codes: torch.Tensor, factors: torch.Tensor = FACTORS) -> Split:
    """Data of five values, of which `collapsed_model` takes the first as the means of q(z|x)."""
    x = torch.zeros(len(codes), 1, 1, 5, dtype=torch.float64)
    x[..., : codes.shape[1]] = codes.view(len(codes), 1, 1, -1)
    return Split(x, factors)


def scores(codes: torch.Tensor, active: int = 3, task: Disentanglement = QUICK) -> dict[str, float]:
    torch.manual_seed(0)
    return task.run(collapsed_model(active), split(codes), split(codes), ROWS).results


def test_codes_that_are_the_factors_have_the_score_one() -> None:
    found = scores(FACTORS[:, [2, 0, 1]])  # in another order, and a fourth dimension without information
    for name in ("mig", "factor_vae_score", "beta_vae_score", "disentanglement", "completeness", "informativeness"):
        assert found[name] == pytest.approx(1, abs=1e-9), name
    np.testing.assert_allclose(found["entropies"], np.log([3, 4, 5]))


def test_codes_that_know_nothing_are_at_chance() -> None:
    generator = torch.Generator().manual_seed(0)
    codes = [torch.randn(6000, 3, generator=generator, dtype=torch.float64) for _ in range(2)]
    factors = FACTORS.repeat(10, 1)
    torch.manual_seed(0)
    train, data = (split(part, factors) for part in codes)
    found = Disentanglement(trees=2, vote_size=30).run(collapsed_model(3), data, train, ROWS).results
    assert found["mig"] < 0.005
    assert found["factor_vae_score"] == pytest.approx(1 / 3, abs=0.07)
    assert found["beta_vae_score"] == pytest.approx(1 / 3, abs=0.07)
    assert found["disentanglement"] < 0.05
    assert found["completeness"] < 0.3  # the dimension of the four that is always 0 matters for no factor
    assert found["informativeness"] == pytest.approx((1 / 3 + 1 / 4 + 1 / 5) / 3, abs=0.03)


def test_a_rotation_spreads_the_factors_over_the_dimensions() -> None:
    standard = (FACTORS - FACTORS.double().mean(0)) / FACTORS.double().std(0)
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).Q
    mixed, pure = scores(standard @ rotation), scores(standard)
    for name in ("mig", "disentanglement", "completeness"):
        assert mixed[name] < pure[name] - 0.3, name
    assert mixed["informativeness"] > 0.9  # they know as much


def test_a_collapsed_posterior_has_no_score() -> None:
    found = scores(FACTORS, active=0)
    assert found["mig"] == found["factor_vae_score"] == found["disentanglement"] == found["completeness"] == 0


def test_the_mutual_information_is_that_of_scikit_learn() -> None:
    draws = np.random.default_rng(0)
    factors = draws.integers(4, size=(500, 2))
    codes = draws.normal(size=(500, 3)) + factors[:, :1]
    found = mutual_information(codes, factors, bins=8)
    for dimension, code in enumerate(codes.T):
        edges = np.linspace(code.min(), code.max(), 9)
        binned = np.minimum(((code - edges[0]) / (edges[1] - edges[0])).astype(int), 7)
        expected = [mutual_info_score(binned, factor) for factor in factors.T]
        np.testing.assert_allclose(found[dimension], expected, atol=1e-12)
    entropies = np.array([entropy(np.bincount(factor)) for factor in factors.T])
    np.testing.assert_allclose(entropies, [scipy_entropy(np.bincount(factor)) for factor in factors.T])
    best = np.sort(found, 0)[::-1]
    assert information_gap(found, entropies) == pytest.approx(np.mean((best[0] - best[1]) / entropies))
    assert information_gap(found[:1], entropies) == pytest.approx(np.mean(found[0] / entropies))


def test_disentanglement_and_completeness_by_hand() -> None:
    importances = np.array([[0.5, 0.5], [0.5, 0.0], [0.0, 0.5]])
    disentanglement, completeness = disentanglement_and_completeness(importances)
    assert disentanglement == pytest.approx(0.5)  # of the first dimension 0, of the others 1, weighted by ½, ¼, ¼
    assert completeness == pytest.approx(1 - np.log(2) / np.log(3))


def test_partners_share_the_factor_and_nothing_else() -> None:
    factors, draws = FACTORS.numpy(), np.random.default_rng(0)
    index = draws.integers(len(factors), size=20_000)
    partners = FactorSampler(factors, draws).partners(index, 1)
    assert (factors[partners, 1] == factors[index, 1]).all()
    for factor in (0, 2):
        share = (factors[partners, factor] == factors[index, factor]).mean()
        assert share == pytest.approx(1 / (3 if factor == 0 else 5), abs=0.02)


@pytest.mark.parametrize("factors", [None, FACTORS[:, 0], FACTORS[:, :1], FACTORS * torch.tensor([0, 0, 1])])
def test_it_needs_two_known_factors(factors: torch.Tensor | None) -> None:
    data = split(FACTORS)._replace(y=factors)
    with pytest.raises(ValueError, match=r"^task=disentanglement needs data with at least two known factors"):
        QUICK.run(collapsed_model(3), data, data, ROWS)

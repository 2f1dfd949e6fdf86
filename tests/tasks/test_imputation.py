"""Restored images: exact on probabilistic PCA, whose conditional means are known."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from aevb.data.module import Split
from aevb.likelihoods import DiscretizedLogisticMixture
from aevb.tasks import Denoise, Inpaint, SuperResolution
from aevb.tasks.chain import KnownPixels, NoisyPixels, restore
from aevb.tasks.imputation import compared, nearest, psnr, uniform_noise
from aevb.tasks.masks import Centre, Half, Lattice, RandomPixels
from aevb.vae import VAE

from ..ppca import PPCA, make_ppca
from ..small import small_model

CHAINS = 400


def ppca_with(q: str) -> PPCA:
    """With the exact posterior as q, or one that is somewhat off and too wide."""
    ppca = make_ppca(latent_dim=1, data_dim=3, num_data=4, sigma=0.5, orthogonal=True)
    ppca.use_exact_posterior()
    if q == "wrong":
        with torch.no_grad():
            ppca.q.head.layer.bias += torch.tensor([0.3, 0.5])
    return ppca


def conditional_mean(ppca: PPCA, x: Tensor, observed: Tensor) -> tuple[Tensor, float]:
    """E[x | x_observed] of one x (D,), and log p(x_observed)."""
    mean = ppca.bias.detach()
    covariance = (ppca.weight @ ppca.weight.T).detach() + ppca.sigma**2 * torch.eye(len(x), dtype=x.dtype)
    seen = observed.nonzero().flatten()
    if len(seen) == 0:
        return mean, 0.0
    marginal = torch.distributions.MultivariateNormal(mean[seen], covariance[seen][:, seen])
    gain = torch.linalg.solve(covariance[seen][:, seen], covariance[seen]).T
    expected = mean + gain @ (x[seen] - mean[seen])
    return torch.where(observed, x, expected), float(marginal.log_prob(x[seen]))


def by_chain(ppca: PPCA, observation, start: Tensor) -> tuple[Tensor, float]:
    torch.manual_seed(0)
    repeated = start.repeat(CHAINS, 1, 1, 1)
    mean, acceptance = restore(VAE.join(ppca.p, ppca.q), repeated, observation, 150, 100)
    return mean.unflatten(0, (CHAINS, -1)).mean(0).flatten(1), float(acceptance.mean())


@pytest.mark.parametrize("q", ["exact", "wrong"])
def test_missing_values_get_their_conditional_mean(q):
    ppca = ppca_with(q)
    observed = torch.tensor([True, False, False]).view(1, 1, 1, 3).expand_as(ppca.x)
    x = ppca.x.repeat(CHAINS, 1, 1, 1)
    start = torch.where(observed, ppca.x, 3.0)
    found, acceptance = by_chain(ppca, KnownPixels(x, observed.repeat(CHAINS, 1, 1, 1)), start)
    expected = torch.stack([conditional_mean(ppca, row, observed[0, 0, 0])[0] for row in ppca.x.flatten(1)])
    assert torch.equal(found[:, 0], ppca.x.flatten(1)[:, 0]) or torch.allclose(found[:, 0], ppca.x.flatten(1)[:, 0])
    assert torch.allclose(found, expected, atol=0.03)
    assert (expected - ppca.bias).abs().max() > 0.2  # not that of the mean image
    assert acceptance == pytest.approx(1.0) if q == "exact" else 0.3 < acceptance < 0.95


@pytest.mark.parametrize("q", ["exact", "wrong"])
def test_noisy_values_get_their_conditional_mean(q):
    """The sum over all that may have been replaced, by their probabilities."""
    share, density, ppca = 0.4, 0.1, ppca_with(q)
    noisy = ppca.x.clone()
    noisy[..., 1] = torch.tensor([3.0, -2.0, 0.5, 1.0]).view(4, 1, 1)
    expected = []
    for row in noisy.flatten(1):
        total, mean = 0.0, torch.zeros(3, dtype=row.dtype)
        for kept in product([True, False], repeat=3):
            conditional, log_p = conditional_mean(ppca, row, torch.tensor(kept))
            weight = math.prod(1 - share if k else share * density for k in kept) * math.exp(log_p)
            total, mean = total + weight, mean + weight * conditional
        expected.append(mean / total)
    found, _ = by_chain(ppca, NoisyPixels(noisy.repeat(CHAINS, 1, 1, 1), share, density), ppca.x)
    assert torch.allclose(found, torch.stack(expected), atol=0.08)
    assert (torch.stack(expected) - noisy.flatten(1)).abs().max() > 0.5


def test_without_the_correction_a_wrong_q_would_be_off(monkeypatch):
    """What the acceptance step is there for."""
    ppca = ppca_with("wrong")
    observed = torch.tensor([True, False, False]).view(1, 1, 1, 3).expand_as(ppca.x).repeat(CHAINS, 1, 1, 1)
    expected = torch.stack([conditional_mean(ppca, row, observed[0, 0, 0])[0] for row in ppca.x.flatten(1)])
    monkeypatch.setattr(torch.Tensor, "nan_to_num", lambda self, value: torch.ones_like(self))
    found, _ = by_chain(ppca, KnownPixels(ppca.x.repeat(CHAINS, 1, 1, 1), observed), ppca.x)
    assert not torch.allclose(found, expected, atol=0.1)


def draw(mask, shape=(1, 4, 5), count=1) -> list[str]:
    seen = mask.observed(count, shape).expand(count, *shape)[0, 0]
    return ["".join("x" if value else "." for value in row) for row in seen.tolist()]


def test_masks():
    assert draw(Half("left")) == ["..xxx"] * 4
    assert draw(Half("right")) == ["xxx.."] * 4
    assert draw(Half("top")) == ["....."] * 2 + ["xxxxx"] * 2
    assert draw(Half("bottom")) == ["xxxxx"] * 2 + ["....."] * 2
    assert draw(Centre(0.5)) == ["xxxxx", "x...x", "x...x", "xxxxx"]
    assert draw(Lattice(2)) == [".....", ".x.x.", ".....", ".x.x."]
    seen = RandomPixels(0.8).observed(100, (3, 10, 10))
    assert seen.shape == (100, 1, 10, 10)
    assert float(seen.double().mean()) == pytest.approx(0.2, abs=0.02)


def test_psnr():
    x = torch.rand(2, 1, 3, 3)
    everything = torch.ones_like(x, dtype=torch.bool)
    assert psnr(x + 0.1, x, everything) == pytest.approx(20, abs=1e-3)
    assert psnr(x, x, everything) == math.inf
    half = Half("left").observed(2, (1, 3, 3)).expand_as(x)
    assert psnr(torch.where(half, x, x + 0.01), x, ~half) == pytest.approx(40, abs=1e-2)


def test_nearest_looks_at_what_is_observed():
    train = torch.tensor([[0.0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]]).view(3, 1, 2, 2)
    x = torch.tensor([[0.1, 0.2, 0, 0], [0, 1, 1, 1]]).view(2, 1, 2, 2)
    seen = torch.tensor([[True, True, False, False], [True, True, False, False]]).view(2, 1, 2, 2)
    for rows in (1, 10):
        assert torch.equal(nearest(x, train, seen, rows), train[[0, 2]])


def test_noise_is_of_the_kind_of_the_data():
    grey, black_and_white = torch.rand(5, 1, 20, 20) * 2, torch.bernoulli(torch.full((5, 1, 20, 20), 0.2))
    noise, density = uniform_noise(grey, discrete=False)
    assert density == pytest.approx(0.5, abs=0.01)
    assert float(noise.mean()) == pytest.approx(1, abs=0.1)
    noise, density = uniform_noise(black_and_white, discrete=False)
    assert density == 0.5
    assert noise.unique().tolist() == [0, 1]
    levels = (grey * 2).round() / 4
    noise, density = uniform_noise(levels, discrete=True)
    assert density == 0.2
    assert noise.unique().tolist() == levels.unique().tolist()


@pytest.mark.parametrize(
    "task", [Inpaint(mask=Half("top")), SuperResolution(), Denoise(), Inpaint(mask=RandomPixels(0.5))]
)
def test_findings(task):
    torch.manual_seed(0)
    task = type(task)(**{**vars(task), "num_chains": 2, "burn_in": 1, "num_steps": 2})
    x, train = torch.rand(12, 1, 4, 4), torch.rand(30, 1, 4, 4)
    found = task.run(small_model((1, 4, 4)), Split(x), Split(train), rows=8)
    assert {"psnr_model", "psnr_mean_image", "psnr_nearest_neighbour", "acceptance"} <= set(found.results)
    assert all(math.isfinite(value) for value in found.results.values())
    rows = 6 if isinstance(task, Denoise) else 5
    picture = found.pictures[""]
    assert picture.height // (5 * 13) == rows  # images of 4 pixels and one of padding, enlarged 13 times to 640
    assert found.words[0].startswith("PSNR of the model")
    assert isinstance(task.settings.get("mask", ""), str)


def test_few_accepted_proposals_are_said():
    x = torch.rand(2, 1, 4, 4)
    everything = torch.ones_like(x, dtype=torch.bool)
    for acceptance, said in ((0.001, True), (0.5, False)):
        words = compared(x, x, {"model": x, "mean_image": x + 0.1}, everything, acceptance).words
        assert any(sentence.startswith("warning: 0.1% of the chains' proposals") for sentence in words) == said


def test_what_cannot_be_done_is_said():
    x = torch.rand(4, 1, 1, 1)
    with pytest.raises(ValueError, match=r"task=inpaint needs images of which a part is missing, got \(1, 1, 1\)"):
        Inpaint().run(small_model((1, 1, 1)), Split(x), Split(x), rows=10)
    for make, key in (
        (lambda: Half("middle"), "side"),
        (lambda: Centre(1.0), "share"),
        (lambda: RandomPixels(0), "share"),
        (lambda: Lattice(1), "factor"),
        (lambda: Denoise(share=1), "share"),
        (lambda: SuperResolution(factor=1), "factor"),
        (lambda: Inpaint(num_chains=0), "num_chains"),
    ):
        with pytest.raises(ValueError, match=rf"^{key} must be"):
            make()


def test_denoising_works_for_the_likelihood_with_mixtures_along_an_axis():
    x = (torch.rand(4, 1, 4, 4) * 255).round() / 255
    model = small_model((1, 4, 4), likelihood=DiscretizedLogisticMixture)
    found = Denoise(num_chains=1, burn_in=0, num_steps=1).run(model, Split(x), Split(x), rows=10)
    assert math.isfinite(found.results["psnr_model"])

"""Quantizers: against k-means, and against vector-quantize-pytorch."""

import itertools

import pytest
import torch
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.datasets import make_blobs
from torch import Tensor

from aevb.networks import FSQ, EMACodebook, Quantizer

QUANTIZERS = {"codebook": lambda: EMACodebook(3, num_codes=7), "fsq": lambda: FSQ(3, levels=(4, 3, 5))}


def inertia(codebook: EMACodebook, x: Tensor) -> float:
    distance = codebook.distance(x, codebook.nearest(x))
    assert distance is not None
    return float(distance.sum())


@pytest.mark.parametrize("seed", range(3))
def test_the_codebook_finds_the_clusters_of_k_means(seed: int) -> None:
    """From the same start, as both find a local optimum."""
    torch.manual_seed(seed)
    points = make_blobs(2000, centers=8, cluster_std=1.0, random_state=seed)[0].astype("float32")
    x, (start, _) = torch.from_numpy(points), kmeans_plusplus(points, 8, random_state=seed)
    codebook = EMACodebook(2, num_codes=8, decay=0.95)
    codebook.codebook.copy_(torch.from_numpy(start))
    codebook.counts.fill_(25.0)
    codebook.sums.copy_(25 * codebook.codebook)
    found = []
    for step in range(400):
        batch = x[torch.randint(len(x), (200,))]
        codebook.update(batch, codebook.nearest(batch))
        if step >= 350:
            found.append(inertia(codebook, x))
    expected = KMeans(8, init=start, n_init=1).fit(points).inertia_
    assert sum(found) / len(found) == pytest.approx(expected, rel=0.01)


def test_the_codebook_is_that_of_vector_quantize_pytorch() -> None:
    reference = pytest.importorskip("vector_quantize_pytorch", reason="vector-quantize-pytorch is not installed")
    torch.manual_seed(0)
    theirs = reference.VectorQuantize(
        dim=3, codebook_size=6, decay=0.9, commitment_weight=0.25, threshold_ema_dead_code=0, rotation_trick=False
    )
    ours = EMACodebook(3, num_codes=6, decay=0.9, restart_below=0)
    inner = theirs._codebook
    ours.codebook.copy_(inner.embed[0])
    ours.counts.copy_(inner.cluster_size[0])
    ours.sums.copy_(inner.embed_avg[0])
    for _ in range(20):
        h = torch.randn(4, 10, 3, requires_grad=True)
        z, codes = ours(h)
        quantized, indices, loss = theirs(h)
        assert torch.equal(codes, indices)
        torch.testing.assert_close(z, quantized)
        distance = ours.distance(h, codes)
        assert distance is not None
        torch.testing.assert_close(0.25 * distance.mean() / 3, loss.squeeze())
        weight = torch.randn_like(z)
        found, expected = (
            torch.autograd.grad((part * weight).sum(), h, retain_graph=True)[0] for part in (z, quantized)
        )
        torch.testing.assert_close(found, expected)
        ours.update(h.detach(), codes)
        for mine, of_theirs in ((ours.codebook, inner.embed), (ours.counts, inner.cluster_size)):
            torch.testing.assert_close(mine, of_theirs[0], rtol=1e-4, atol=1e-5)


def test_fsq_is_that_of_vector_quantize_pytorch() -> None:
    reference = pytest.importorskip("vector_quantize_pytorch", reason="vector-quantize-pytorch is not installed")
    torch.manual_seed(0)
    levels = [8, 5, 4]
    ours, theirs = FSQ(3, levels), reference.FSQ(levels)
    h = 3 * torch.randn(2, 50, 3, requires_grad=True)
    z, codes = ours(h)
    quantized, indices = theirs(h)
    torch.testing.assert_close(z, quantized)
    assert torch.equal(codes.int(), indices.int())
    weight = torch.randn_like(z)
    found, expected = (torch.autograd.grad((part * weight).sum(), h, retain_graph=True)[0] for part in (z, quantized))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", QUANTIZERS)
def test_each_vector_has_its_code(name: str) -> None:
    quantizer: Quantizer = QUANTIZERS[name]()
    codes = torch.arange(quantizer.num_codes)
    vectors = quantizer.vectors(codes)
    assert vectors.shape == (quantizer.num_codes, 3)
    assert len(vectors.unique(dim=0)) == quantizer.num_codes
    assert torch.equal(quantizer.nearest(vectors), codes)


@pytest.mark.parametrize("name", QUANTIZERS)
def test_the_nearest_vector_is_the_nearest(name: str) -> None:
    torch.manual_seed(0)
    quantizer: Quantizer = QUANTIZERS[name]()
    h = 0.5 * torch.randn(200, 3)
    vectors = quantizer.vectors(torch.arange(quantizer.num_codes))
    if name == "fsq":  # the nearest in each dimension, whose scales differ
        vectors, h = (vectors * torch.tensor([2, 1, 2])), h * torch.tensor([2, 1, 2])
    nearest = torch.cdist(h, vectors).argmin(-1)
    assert torch.equal(quantizer.nearest(h / torch.tensor([2, 1, 2]) if name == "fsq" else h), nearest)


def test_z_has_the_exact_value_of_a_vector_and_the_gradient_of_h() -> None:
    quantizer = EMACodebook(3, num_codes=7)
    h = torch.randn(50, 3, requires_grad=True)
    z, codes = quantizer(h)
    assert torch.equal(z, quantizer.codebook[codes])
    weight = torch.randn_like(z)
    (gradient,) = torch.autograd.grad((weight * z).sum(), h)
    assert torch.equal(gradient, weight)


def test_the_gradient_of_fsq_is_that_of_its_squashing() -> None:
    quantizer = FSQ(2, levels=(5, 4))
    h = torch.tensor([[0.3, -0.8]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(quantizer(h)[0].sum(), h)
    half = torch.tensor([2.0, 1.5], dtype=torch.float64) * 1.001
    shift = torch.tensor([0.0, 0.5], dtype=torch.float64)
    expected = half * (1 - torch.tanh(h + torch.atanh(shift / half)).square()) / 2
    torch.testing.assert_close(gradient, expected.detach())


def test_the_distance_draws_h_and_not_the_codebook() -> None:
    quantizer = EMACodebook(3, num_codes=7)
    h = torch.randn(9, 3, requires_grad=True)
    codes = quantizer.nearest(h)
    distance = quantizer.distance(h, codes)
    assert distance is not None
    assert distance.shape == (9,)
    (gradient,) = torch.autograd.grad(distance.sum(), h)
    torch.testing.assert_close(gradient, 2 * (h - quantizer.codebook[codes]).detach())


def test_codes_out_of_use_start_anew_at_what_is_quantized() -> None:
    torch.manual_seed(0)
    quantizer = EMACodebook(2, num_codes=16)
    quantizer.codebook.fill_(100.0)
    h = torch.randn(300, 2)
    quantizer.update(h, quantizer.nearest(h))
    known = {tuple(row) for row in h.tolist()}
    assert sum(tuple(row) in known for row in quantizer.codebook.tolist()) >= 15
    for _ in range(100):
        h = torch.randn(300, 2)
        quantizer.update(h, quantizer.nearest(h))
    assert len(quantizer.nearest(torch.randn(1000, 2)).unique()) == 16


def test_without_restarts_a_code_out_of_use_stays_where_it_is() -> None:
    quantizer = EMACodebook(2, num_codes=2, restart_below=0)
    quantizer.codebook.copy_(torch.tensor([[0.0, 0.0], [100.0, 100.0]]))
    quantizer.counts.fill_(1.0)
    quantizer.sums.copy_(quantizer.codebook)
    for _ in range(20):
        quantizer.update(h := torch.randn(50, 2), quantizer.nearest(h))
    torch.testing.assert_close(quantizer.codebook[1], torch.tensor([100.0, 100.0]), rtol=1e-3, atol=0)


def test_levels_number_the_codes() -> None:
    quantizer = FSQ(2, levels=(3, 2))
    values = [(a, b) for b, a in itertools.product((-1.0, 0.0), (-1.0, 0.0, 1.0))]
    assert quantizer.vectors(torch.arange(6)).tolist() == [list(pair) for pair in values]
    with pytest.raises(
        ValueError, match=r"^levels must have an entry for each of code_dim=3 dimensions, got \[3, 2\]$"
    ):
        FSQ(3, levels=(3, 2))
    with pytest.raises(ValueError, match=r"^levels must be"):
        FSQ(1, levels=(1,))

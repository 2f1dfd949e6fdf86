import pytest
import torch
from scipy import stats

from aevb.data.binarization import bernoulli, generator, threshold


def test_every_grey_level_is_drawn_with_its_probability():
    n = 20_000
    levels = torch.arange(256, dtype=torch.uint8)
    white = bernoulli(levels.expand(n, 256).contiguous(), generator(0)).sum(0)
    assert white[0] == 0
    assert white[255] == n
    p_values = [stats.binomtest(int(white[v]), n, v / 255).pvalue for v in range(1, 255)]
    assert min(p_values) > 0.001 / len(p_values)
    # 255 levels, not 256: with x/256 the counts of the bright levels would be too small all together.
    bright = slice(128, 255)
    expected = n * levels[bright].double().sum() / 255
    deviation = (n * (levels[bright].double() / 255) * (1 - levels[bright].double() / 255)).sum().sqrt()
    assert abs(white[bright].sum() - expected) < 4 * deviation
    assert abs(white[bright].sum() - expected * 255 / 256) > 4 * deviation


def test_floats_are_drawn_with_their_probability():
    x = torch.tensor([0.0, 0.2, 0.75, 1.0]).expand(10_000, 4).contiguous()
    white = bernoulli(x, generator(1)).double().mean(0)
    assert white[0] == 0
    assert white[3] == 1
    assert white[1:3] == pytest.approx([0.2, 0.75], abs=0.02)


def test_black_and_white_stay_as_they_are():
    x = torch.tensor([True, False])
    assert bernoulli(x, generator(0)) is x
    assert threshold(x) is x
    assert bernoulli(torch.tensor([0, 255], dtype=torch.uint8), generator(0)).tolist() == [False, True]


def test_threshold_is_one_half():
    assert threshold(torch.tensor([0, 127, 128, 255], dtype=torch.uint8)).tolist() == [False, False, True, True]
    assert threshold(torch.tensor([0.0, 0.5, 0.51, 1.0])).tolist() == [False, False, True, True]
    assert (torch.tensor([127, 128]) / 255 > 0.5).tolist() == [False, True]


def test_streams_of_different_keys_are_unrelated():
    keys = [(0, 1), (1, 0), (0, 0), (0, 0, 1), (2**63, 0)]
    draws = {tuple(torch.rand(4, generator=generator(*key)).tolist()) for key in keys}
    assert len(draws) == len(keys)
    assert torch.equal(torch.rand(4, generator=generator(3, 4)), torch.rand(4, generator=generator(3, 4)))

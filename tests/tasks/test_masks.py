"""Masks: which values are observed."""

import pytest

from aevb.tasks.masks import Centre, Half, Lattice, RandomPixels


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

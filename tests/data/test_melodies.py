"""Melodies from scores of music21, written here."""

from pathlib import Path

import numpy as np
import pytest
import torch

from aevb.data import Melodies
from aevb.data.melodies import sections, stored, windows, windows_by_piece
from aevb.errors import ConfigError


def bar(*tokens: int) -> list[int]:
    """Four tokens, a quarter each."""
    return [value for token in tokens for value in (token, 0, 0, 0)]


def test_tokens_of_a_score() -> None:
    music21 = pytest.importorskip("music21", reason="music21 is not installed")
    score = music21.converter.parse("tinynotation: 4/4 c4 r8 d16 e16 f2~ f4 g4 r2 3/4 a4 a4 a4 4/4 c1")
    measures = score.getElementsByClass("Measure")
    c, d, e, f, g = (pitch - 19 for pitch in (60, 62, 64, 65, 67))
    first = [c, 0, 0, 0, 1, 0, d, e, f] + [0] * 7
    assert sections(measures) == [first + bar(0, g, 1, 0), bar(c, 0, 0, 0)]


def test_triplets_and_chords_and_graces() -> None:
    music21 = pytest.importorskip("music21", reason="music21 is not installed")
    triplet = music21.converter.parse("tinynotation: 4/4 trip{c8 d8 e8} f4 g4 a4")
    assert sections(triplet.getElementsByClass("Measure")) == []
    measure = music21.stream.Measure(
        [music21.meter.TimeSignature("4/4"), music21.chord.Chord("C4 E4 G4", quarterLength=4)]
    )
    assert sections([measure]) == [bar(67 - 19, 0, 0, 0)]


def test_windows_begin_with_what_sounds() -> None:
    section = np.array(bar(50, 51, 52, 53) + bar(0, 54, 55, 1) + bar(0, 0, 0, 0) + bar(0, 60, 61, 62), np.uint8)
    found = [window[::4].tolist() for window in windows(section, 1)]
    assert found == [[50, 51, 52, 53], [53, 54, 55, 1], [1, 60, 61, 62]]  # the third bar has no notes
    assert windows(section, 2)[0][::4].tolist() == [50, 51, 52, 53, 0, 54, 55, 1]


def melodies(root: Path, pieces: int = 30, **settings: object) -> Melodies:
    path = root / "Melodies" / "bach.npz"
    path.parent.mkdir()
    draws = np.random.default_rng(0)
    path.write_bytes(stored([(n // 2, bar(*draws.integers(2, 90, 16))) for n in range(2 * pieces)]))
    return Melodies(root, collections=["bach"], **settings)


def test_pieces_are_divided(tmp_path: Path) -> None:
    data = melodies(tmp_path)
    data.setup("fit")
    assert data.shape == (32,)
    splits = data.splits
    assert [len(part.x) for part in splits] == [24 * 6, 3 * 6, 3 * 6]  # 4 bars are 3 windows, of two parts each
    assert splits.train.x.dtype == torch.float32
    every = torch.cat([part.x for part in splits])
    assert len(every.unique(dim=0)) == len(every)
    by_piece = windows_by_piece(data.paths["bach"], 2)
    known = {tuple(x) for x in splits.train.x.tolist()}
    assert sorted({sum(tuple(x.tolist()) in known for x in piece) for piece in by_piece}) == [0, 6]


def test_too_many_bars_and_broken_files_stop_with_one_line(tmp_path: Path) -> None:
    data = melodies(tmp_path, bars=9)
    with pytest.raises(ConfigError, match=r"^data\.bars must be such that some melodies have as many, got 9$"):
        data.setup("fit")
    data.paths["bach"].write_bytes(b"broken")
    with pytest.raises(ConfigError, match=r"bach\.npz \(.*\); delete it to have it made again$"):
        data.load()

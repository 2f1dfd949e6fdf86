"""Melodies of the corpus that comes with music21, as sequences of tokens."""

import io
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from aevb.data.binarization import generator
from aevb.data.module import InMemoryDataModule, Split, Splits
from aevb.errors import ConfigError, extra, first_line
from aevb.files import atomic_write, read_file
from aevb.types import Count

log = logging.getLogger("aevb")

Collection = Literal["bach", "ryansMammoth"]
"""Of music21's corpus: the chorales of Bach, and Ryan's collection of dances (1883)."""

STEPS_PER_BAR = 16
HOLD, SILENCE, FIRST_NOTE = 0, 1, 2
LOWEST, HIGHEST = 21, 108
"""MIDI numbers of a piano's keys."""
VOCABULARY = FIRST_NOTE + HIGHEST - LOWEST + 1
MAX_BYTES = 10**8
_PIECES = 20  # distinguishes this permutation from others with the same seed


class Melodies(InMemoryDataModule):
    """Windows of consecutive bars in 4/4, of every part of the pieces of collections, x (16 · bars,).

    A step is a sixteenth. The token 0 lets the note before go on, 1 begins a silence, and 2 to 89 begin the note of
    MIDI number x + 19. Windows begin with each bar and have at least two notes a bar; equal ones are one. Bars with
    notes between the sixteenths, or with several voices in a part, are left out, as are other metres. Pieces are
    divided at random into 80 % to train on, 10 % for validation and 10 % for the test; windows that are also in the
    training set are left out of the others. There are no labels.

    Notes are read from music21's corpus once, in some minutes, and kept in `<root>/Melodies/<collection>.npz`.

    Sources: Cuthbert & Ariza (2010) for music21; Roberts et al. (2018), arXiv 1803.05428, for the tokens.

    Args:
        root: The folder of all data sets.
        collections: Of the corpus.
        bars: Of a window.
        kwargs: See `InMemoryDataModule`.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        collections: Sequence[Collection] = ("bach", "ryansMammoth"),
        bars: Count = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.paths = {name: Path(root).expanduser() / "Melodies" / f"{name}.npz" for name in sorted(set(collections))}
        self.bars = bars

    def prepare_data(self) -> None:
        """Read the notes of collections that are not kept yet."""
        for name, path in self.paths.items():
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                atomic_write(path, stored(sections_of(name)))

    def load(self) -> Splits:
        """The windows of all collections."""
        if not self.paths:
            raise ConfigError("data.collections must name one at least, such as [bach]")
        pieces: list[list[np.ndarray]] = []
        for path in self.paths.values():
            pieces += windows_by_piece(path, self.bars)
        order = torch.randperm(len(pieces), generator=generator(self.split_seed, _PIECES)).tolist()
        held_out = len(pieces) // 10
        parts = order[2 * held_out :], order[:held_out], order[held_out : 2 * held_out]
        train, *others = (np.array(sorted({tuple(x) for n in part for x in pieces[n]}), np.uint8) for part in parts)
        if min(map(len, (train, *others))) == 0:
            raise ConfigError(f"data.bars must be such that some melodies have as many, got {self.bars}")
        known = {tuple(x) for x in train}
        new = [np.array([x for x in part if tuple(x) not in known], np.uint8) for part in others]
        return Splits(*(Split(torch.from_numpy(part).float()) for part in (train, *new)))


def windows_by_piece(path: Path, bars: int) -> list[list[np.ndarray]]:
    """The windows of each piece that is kept in a file."""
    try:
        with np.load(io.BytesIO(read_file(path, None, MAX_BYTES))) as file:
            tokens, lengths, piece = file["tokens"], file["lengths"], file["piece"]
    except (ValueError, KeyError, OSError) as error:
        raise ConfigError(
            f"data: cannot read {path.absolute()} ({first_line(error)}); delete it to have it made again"
        ) from error
    found: list[list[np.ndarray]] = [[] for _ in range(int(piece.max(initial=-1)) + 1)]
    for section, number in zip(np.split(tokens, np.cumsum(lengths)[:-1]), piece, strict=True):
        found[number] += windows(section, bars)
    return found


def windows(section: np.ndarray, bars: int) -> list[np.ndarray]:
    """The windows of consecutive bars, (16 · bars,) each, with at least two notes a bar."""
    last = np.where(section == HOLD, 0, np.arange(len(section)))
    current = section[np.maximum.accumulate(last)]  # what sounds at each step
    found = []
    for start in range(0, len(section) - STEPS_PER_BAR * bars + 1, STEPS_PER_BAR):
        window = section[start : start + STEPS_PER_BAR * bars].copy()
        window[0] = max(current[start], SILENCE)
        if (window >= FIRST_NOTE).sum() >= 2 * bars:
            found.append(window)
    return found


def sections_of(collection: str) -> list[tuple[int, list[int]]]:
    """The sections of consecutive bars of each piece of a collection: the number of the piece, and tokens."""
    with extra("music", "data=melodies, whose notes are read once,"):
        from music21 import corpus  # takes seconds
    paths, found = corpus.getComposer(collection), []
    log.info("reading %d pieces of %s from music21's corpus, some minutes", len(paths), collection)
    for number, path in enumerate(sorted(map(str, paths))):
        try:
            parts = corpus.parse(path).parts
        except Exception as error:  # what music21 raises for a piece that it cannot read is not documented
            log.debug("%s: %s", path, first_line(error))
            continue
        for part in parts:
            found += [(number, section) for section in sections(part.getElementsByClass("Measure"))]
    return found


def sections(measures: Iterable[Any]) -> list[list[int]]:
    """The tokens of runs of consecutive bars in 4/4."""
    found: list[list[int]] = [[]]
    for measure in measures:
        tokens = bar_tokens(measure)
        if tokens is None:
            found.append([])
        else:
            found[-1] += tokens
    return [section for section in found if section]


def bar_tokens(measure: Any) -> list[int] | None:
    """The tokens of a measure of music21; None where it is no bar of sixteenths in 4/4 with one voice."""
    if measure.barDuration.quarterLength != 4 or measure.highestTime != 4 or measure.hasVoices():
        return None
    tokens = [HOLD] * STEPS_PER_BAR
    for event in measure.notesAndRests:
        step = event.offset * STEPS_PER_BAR / 4
        if event.duration.isGrace:
            continue
        if step != int(step) or event.quarterLength * STEPS_PER_BAR / 4 < 1:
            return None
        if event.isRest:
            tokens[int(step)] = SILENCE
        elif event.tie is None or event.tie.type == "start":
            pitch = max(pitch.midi for pitch in event.pitches) if event.pitches else 0
            if not LOWEST <= pitch <= HIGHEST:
                return None
            tokens[int(step)] = FIRST_NOTE + pitch - LOWEST
    return tokens


def stored(sections: Sequence[tuple[int, Sequence[int]]]) -> bytes:
    """A file of sections."""
    file = io.BytesIO()
    np.savez_compressed(
        file,
        tokens=np.array([token for _, section in sections for token in section], np.uint8),
        lengths=np.array([len(section) for _, section in sections]),
        piece=np.array([number for number, _ in sections]),
    )
    return file.getvalue()

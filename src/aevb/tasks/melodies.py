"""Melodies that a model generates, as sound and as piano rolls."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor

from aevb.data.melodies import FIRST_NOTE, HOLD, LOWEST, SILENCE, STEPS_PER_BAR, VOCABULARY
from aevb.data.module import Split
from aevb.errors import extra
from aevb.likelihoods import RecurrentTokens
from aevb.tasks.base import Task, TaskResult
from aevb.types import Size
from aevb.vae import VAE

Note = tuple[int, int, int]
"""The first step, the number of steps, the MIDI number."""


@dataclass(frozen=True)
class Melodies(Task):
    """Draws from the model, and melodies beside their reconstructions, as MIDI files and as pictures of piano rolls.

    The accuracy is the share of equal tokens of x and a draw x' ~ p(x|z), z ~ q(z|x): of the steps where something
    begins in x, and of all.

    Args:
        examples: Melodies of each kind.
        beats_per_minute: Of the MIDI files; a beat is a quarter note.
    """

    name: ClassVar[str] = "melodies"

    examples: Size = 6
    beats_per_minute: Size = 100

    @torch.no_grad()
    def run(self, vae: VAE, data: Split, train: Split, rows: int) -> TaskResult:
        head = vae.p.head
        if not isinstance(head, RecurrentTokens) or head.vocabulary != VOCABULARY:
            raise ValueError("task=melodies needs a model of melodies, model=melody or model=music_vae")
        drawn = torch.cat([vae.decode(vae.encode(part.x).sample((1,))).sample()[0] for part in data.chunks(rows)])
        equal, begins = drawn == data.x, data.x != HOLD
        accuracy = {"of_onsets": float(equal[begins].float().mean()), "of_steps": float(equal.float().mean())}
        words = [
            f"{accuracy['of_onsets']:.1%} of the notes and silences begin alike in x' ~ p(x|z), z ~ q(z|x), and "
            f"{accuracy['of_steps']:.1%} of all steps are equal"
        ]
        kinds = {
            "samples": vae.sample(self.examples, mean=False),
            "data": data.x[: self.examples],
            "reconstructions": drawn[: self.examples],
        }
        midi = {name: midi_file(melodies, self.beats_per_minute) for name, melodies in kinds.items()}
        return TaskResult({"accuracy": accuracy}, words, {"": piano_rolls(kinds)}, midi=midi)


def notes_of(melody: Tensor) -> list[Note]:
    """The notes of tokens (T,); what goes on before the first note is silence."""
    tokens, found = melody.long().tolist(), []
    begins = [step for step, token in enumerate(tokens) if token != HOLD]
    for step, end in pairwise([*begins, len(tokens)]):
        if tokens[step] != SILENCE:
            found.append((step, end - step, tokens[step] - FIRST_NOTE + LOWEST))
    return found


def midi_file(melodies: Iterable[Tensor], beats_per_minute: int) -> bytes:
    """A MIDI file of melodies, one after the other with a bar of silence between them."""
    with extra("music", "task=melodies"):
        from music21 import midi, note, stream, tempo  # takes seconds
    score, beat = stream.Stream([tempo.MetronomeMark(number=beats_per_minute)]), STEPS_PER_BAR // 4
    for number, melody in enumerate(melodies):
        start = number * (math.ceil(len(melody) / STEPS_PER_BAR) + 1) * STEPS_PER_BAR
        for step, steps, pitch in notes_of(melody):
            score.insert((start + step) / beat, note.Note(pitch, quarterLength=steps / beat))
    written: bytes = midi.translate.streamToMidiFile(score).writestr()
    return written


def piano_rolls(kinds: dict[str, Tensor]) -> Figure:
    """A row for each kind of melodies, with time to the right and pitch upwards; bars are divided by lines."""
    columns = max(map(len, kinds.values()))
    figure = Figure(figsize=(2.2 * columns, 1.6 * len(kinds)), layout="constrained")
    axes = figure.subplots(len(kinds), columns, squeeze=False, sharex=True)
    every = [pitch for melodies in kinds.values() for melody in melodies for _, _, pitch in notes_of(melody)]
    for row, (name, melodies) in zip(axes, kinds.items(), strict=True):
        row[0].set_ylabel(name)
        for place, melody in zip(row, melodies, strict=False):
            notes = notes_of(melody)
            place.barh([n[2] for n in notes], [n[1] - 0.15 for n in notes], left=[n[0] for n in notes], height=0.9)
            place.set(xlim=(0, len(melody)), xticks=range(0, len(melody) + 1, STEPS_PER_BAR), yticks=[])
            place.set_ylim(min(every, default=LOWEST) - 1, max(every, default=LOWEST) + 1)
            place.grid(axis="x")
            place.tick_params(labelbottom=False)
    return figure

"""Melodies as MIDI files and piano rolls."""

import pytest
import torch

from aevb.data import Split
from aevb.data.melodies import SILENCE, VOCABULARY
from aevb.likelihoods import RecurrentTokens
from aevb.networks import TokenEncoder
from aevb.tasks import Melodies
from aevb.tasks.melodies import midi_file, notes_of, piano_rolls

from ..small import small_model

MELODY = torch.tensor([0, 50, 0, 0, SILENCE, 0, 2, 89] + [0] * 24).float()
NOTES = [(1, 3, 69), (6, 1, 21), (7, 25, 108)]


def test_notes_last_until_the_next_token_that_begins_something() -> None:
    assert notes_of(MELODY) == NOTES
    assert notes_of(torch.zeros(32)) == []


def test_a_midi_file_has_these_notes() -> None:
    pytest.importorskip("music21", reason="music21 is not installed")
    from music21 import converter

    read = converter.parseData(midi_file([MELODY, MELODY], 100), format="midi").stripTies().flatten()
    found = [(float(n.offset) * 4, float(n.quarterLength) * 4, n.pitch.midi) for n in read.notes]
    assert found == NOTES + [(step + 48, steps, pitch) for step, steps, pitch in NOTES]


def test_each_note_has_a_bar_in_the_piano_roll() -> None:
    figure = piano_rolls({"data": MELODY.unsqueeze(0), "samples": torch.zeros(2, 32)})
    assert [len(axes.patches) for axes in figure.axes] == [3, 0, 0, 0]


def model(vocabulary: int = VOCABULARY):
    return small_model(
        (32,),
        encoder=lambda shape: TokenEncoder(shape, vocabulary, width=4),
        likelihood=lambda a, b: RecurrentTokens(a, b, vocabulary, width=4),
    )


def test_the_accuracy_is_the_share_of_equal_tokens(monkeypatch) -> None:
    pytest.importorskip("music21", reason="music21 is not installed")
    torch.manual_seed(0)
    vae, data = model(), Split(MELODY.repeat(5, 1))
    wrong = MELODY.clone()
    wrong[1], wrong[20] = 51, 3
    monkeypatch.setattr(
        "aevb.likelihoods.tokens.Tokens.sample", lambda self, shape=(): wrong.expand(*self.batch_shape, 32)
    )
    result = Melodies(examples=2).run(vae, data, data, rows=2)
    assert result.results["accuracy"] == pytest.approx({"of_onsets": 0.75, "of_steps": 30 / 32})
    assert set(result.midi) == {"samples", "data", "reconstructions"}
    assert all(file.startswith(b"MThd") for file in result.midi.values())


def test_models_of_other_data_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^task=melodies needs a model of melodies, model=melody or model=music_vae$"):
        Melodies().run(model(vocabulary=4), Split(MELODY[None]), Split(MELODY[None]), rows=2)

"""JSB chorales: 382 four-part chorales of Johann Sebastian Bach as piano rolls."""

import json
from collections.abc import Sequence

import torch

from aevb.data.module import Split, Splits
from aevb.data.published import File, PublishedDataModule

STEPS = 160
"""Quarter notes of the longest chorale."""
KEYS = 88
LOWEST_KEY = 21
"""The MIDI number of a piano's lowest key."""


class JSB(PublishedDataModule):
    """382 chorales: 229 to train on, 76 for validation, 77 for the test, the split of Boulanger-Lewandowski et al.

    A step is a quarter note, x_t (88,) says which keys of a piano sound: none to four. Chorales have 25 to 160 steps,
    and are padded with silence to (160, 88); c is the number of steps. There are no labels. The notes are read from
    `<root>/JSB/jsb-chorales-quarter.json`, downloaded if it is not there, and always checked against its SHA-256.

    Sources: Boulanger-Lewandowski, Bengio & Vincent (2012), arXiv 1206.6392, for the split; the file of
    https://github.com/czhuang/JSB-Chorales-dataset.

    Args:
        root: The folder of all data sets.
        kwargs: See `InMemoryDataModule`.
    """

    files = (
        File(
            "jsb-chorales-quarter.json",
            ("https://raw.githubusercontent.com/czhuang/JSB-Chorales-dataset/master/jsb-chorales-quarter.json",),
            "sha256:2db9329f1881a1d3f49703ec556bf1d6f84b4f6c1d702c156536e93cf31e1c91",
            1_000_000,
        ),
    )

    def read(self, content: dict[str, bytes]) -> Splits:
        chorales = json.loads(*content.values())
        return Splits(*(piano_rolls(chorales[name]) for name in ("train", "valid", "test")))


def piano_rolls(chorales: Sequence[Sequence[Sequence[int]]]) -> Split:
    """x (N, 160, 88), bool, and lengths (N,) of chorales, each a list of steps of MIDI numbers."""
    x = torch.zeros(len(chorales), STEPS, KEYS, dtype=torch.bool)
    for number, chorale in enumerate(chorales):
        for step, notes in enumerate(chorale):
            x[number, step, [note - LOWEST_KEY for note in notes]] = True
    return Split(x, c=torch.tensor([len(chorale) for chorale in chorales], dtype=torch.float32))

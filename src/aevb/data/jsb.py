"""JSB chorales: 382 four-part chorales of Johann Sebastian Bach as piano rolls."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from aevb.data.download import download
from aevb.data.module import InMemoryDataModule, Split, Splits
from aevb.errors import ConfigError
from aevb.files import read_file

URLS = ("https://raw.githubusercontent.com/czhuang/JSB-Chorales-dataset/master/jsb-chorales-quarter.json",)
SHA256 = "2db9329f1881a1d3f49703ec556bf1d6f84b4f6c1d702c156536e93cf31e1c91"
MAX_BYTES = 1_000_000

STEPS = 160
"""Quarter notes of the longest chorale."""
KEYS = 88
LOWEST_KEY = 21
"""The MIDI number of a piano's lowest key."""


class JSB(InMemoryDataModule):
    """382 chorales: 229 to train on, 76 for validation, 77 for the test, the split of Boulanger-Lewandowski et al.

    A step is a quarter note, x_t (88,) says which keys of a piano sound: none to four. Chorales have 25 to 160 steps,
    and are padded with silence to (160, 88); c is the number of steps. There are no labels. The notes are read from
    `<root>/JSB/jsb-chorales-quarter.json`, downloaded if it is not there, and always checked against its SHA-256.

    Sources: Boulanger-Lewandowski, Bengio & Vincent (2012), arXiv 1206.6392, for the split; the file of
    https://github.com/czhuang/JSB-Chorales-dataset.

    Args:
        root: The folder of all data sets.
        urls: Of the file, tried in this order.
        kwargs: See `InMemoryDataModule`.
    """

    def __init__(self, root: str | os.PathLike[str], urls: Sequence[str] = URLS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path = Path(root).expanduser() / "JSB" / "jsb-chorales-quarter.json"
        self.urls = list(urls)

    def prepare_data(self) -> None:
        """Download the file if it is missing."""
        download(self.urls, self.path, accept=verified, max_bytes=MAX_BYTES)

    def load(self) -> Splits:
        """Read and verify the file."""
        try:
            chorales = json.loads(verified(read_file(self.path, None, MAX_BYTES)))
        except ValueError as error:
            raise ConfigError(
                f"data: cannot read {self.path.absolute()} ({error}); delete it to have it downloaded again"
            ) from error
        return Splits(*(piano_rolls(chorales[name]) for name in ("train", "valid", "test")))


def verified(file: bytes) -> bytes:
    """The file itself, if it is the published one; raises ValueError otherwise."""
    if hashlib.sha256(file).hexdigest() != SHA256:
        raise ValueError("not the published chorales, their SHA-256 differs")
    return file


def piano_rolls(chorales: Sequence[Sequence[Sequence[int]]]) -> Split:
    """x (N, 160, 88), bool, and lengths (N,) of chorales, each a list of steps of MIDI numbers."""
    x = torch.zeros(len(chorales), STEPS, KEYS, dtype=torch.bool)
    for number, chorale in enumerate(chorales):
        for step, notes in enumerate(chorale):
            x[number, step, [note - LOWEST_KEY for note in notes]] = True
    return Split(x, c=torch.tensor([len(chorale) for chorale in chorales], dtype=torch.float32))

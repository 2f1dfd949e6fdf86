"""JSB chorales, from the folder AEVB_DATA_DIR where it is set, and files that are not it."""

import json
import os
import re
from pathlib import Path

import pytest
import torch

from aevb.data import JSB
from aevb.data.jsb import piano_rolls

FOLDER = os.environ.get("AEVB_DATA_DIR")
real_data = pytest.mark.skipif(
    not FOLDER or not Path(FOLDER, "JSB").is_dir(), reason="set AEVB_DATA_DIR to the folder with JSB"
)


@real_data
def test_chorales_are_those_of_the_file():
    dm = JSB(root=FOLDER, shape=[160, 88], batch_size=20)
    dm.prepare_data()
    chorales = json.loads(Path(FOLDER, "JSB/jsb-chorales-quarter.json").read_text())
    assert [tuple(split.x.shape) for split in dm.splits] == [(229, 160, 88), (76, 160, 88), (77, 160, 88)]
    for split, name in zip(dm.splits, ("train", "valid", "test"), strict=True):
        assert split.c.tolist() == [len(chorale) for chorale in chorales[name]]
        for x, chorale in zip(split.x, chorales[name], strict=True):
            keys = [[key + 21 for key in step.nonzero().flatten().tolist()] for step in x]
            assert keys[: len(chorale)] == [sorted(set(step)) for step in chorale]
            assert not any(keys[len(chorale) :])
    assert (int(dm.splits.train.c.min()), int(dm.splits.test.c.max())) == (25, 160)


def test_notes_are_keys_of_a_piano():
    split = piano_rolls([[[21, 108], []], [[60]]])
    assert split.x.nonzero().tolist() == [[0, 0, 0], [0, 0, 87], [1, 0, 39]]
    assert torch.equal(split.c, torch.tensor([2.0, 1.0]))


@pytest.mark.parametrize("content", [b"", b"{}"])
def test_another_file_gets_one_line(tmp_path, content):
    path = tmp_path / "JSB/jsb-chorales-quarter.json"
    path.parent.mkdir()
    path.write_bytes(content)
    reason = "not the published file, its SHA256 differs"
    message = f"data: cannot read {path} ({reason}); delete it to have it downloaded again"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        JSB(root=tmp_path).setup()

"""What all tasks have in common."""

import pytest

from aevb.tasks import Interpolation, Latents, Probe, Traversal

BAD = {
    "threshold": (Latents, 0),
    "aggregate_size": (Latents, 1),
    "train_size": (Probe, 0),
    "inverse_penalty": (Probe, -1),
    "steps": (Traversal, 1),
    "span": (Traversal, 0),
    "pairs": (Interpolation, 0),
}


@pytest.mark.parametrize("setting", BAD)
def test_bad_settings_name_their_key(setting):
    task, value = BAD[setting]
    with pytest.raises(ValueError, match=rf"^{setting} must be .*, got {value}"):
        task(**{setting: value})

"""The digits of scikit-learn."""

import numpy as np
import torch
from sklearn.datasets import load_digits

from aevb.data import Digits


def test_digits():
    dm = Digits(shape=[1, 8, 8])
    dm.prepare_data()
    splits = dm.splits
    assert [len(split.x) for split in splits] == [1397, 200, 200]
    images = torch.cat([split.x for split in splits])
    assert images.dtype == torch.uint8
    assert images.shape == (1797, 1, 8, 8)
    source = load_digits()
    # The same images with the same labels, in another order; 16 levels of 255/16 each.
    levels = {0, 16, 32, 48, 64, 80, 96, 112, 128, 143, 159, 175, 191, 207, 223, 239, 255}
    assert set(images.unique().tolist()) == levels
    expected = sorted(zip(map(bytes, source.images.astype(np.uint8)), source.target.tolist(), strict=True))
    back = (images.double() * 16 / 255).round().to(torch.uint8).numpy()
    labels = torch.cat([split.y for split in splits]).tolist()
    assert sorted(zip(map(bytes, back), labels, strict=True)) == expected
    assert not torch.equal(splits.test.x, Digits(split_seed=1).splits.test.x)

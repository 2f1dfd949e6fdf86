"""The articles of Reuters in the library lda."""

import sys

import pytest
import torch

from aevb.data import Documents
from aevb.errors import ConfigError


def test_all_articles_are_in_one_of_the_splits():
    pytest.importorskip("lda")
    data = Documents(shape=[1, 1, 4258])
    assert [len(split.x) for split in data.splits] == [295, 50, 50]
    x = torch.cat([split.x for split in data.splits])
    assert x.dtype == torch.float32
    assert float(x.sum()) == 84_010
    assert (x.flatten(1).sum(1).min(), x.flatten(1).sum(1).max()) == (36, 541)
    assert len(data.value_names) == 4258
    assert data.value_names[:3] == ["church", "pope", "years"]
    assert not torch.equal(data.splits.test.x, Documents(split_seed=1).splits.test.x)


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "lda", None)
    monkeypatch.setitem(sys.modules, "lda.datasets", None)
    with pytest.raises(ConfigError, match=r"^data=documents is an extra; install it with: pip install 'aevb\[doc"):
        Documents().setup()

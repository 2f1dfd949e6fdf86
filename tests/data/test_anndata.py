"""Counts from AnnData files."""

import numpy as np
import pytest
import torch
from scipy import sparse

from aevb.data import AnnData
from aevb.errors import ConfigError

anndata = pytest.importorskip("anndata")
COUNTS = np.random.default_rng(0).poisson(0.5, (40, 6)).astype(np.float32)
KINDS = np.array(["T", "B", "NK", "B"] * 10)


@pytest.fixture
def file(tmp_path):
    table = anndata.AnnData(X=np.log1p(COUNTS), layers={"counts": sparse.csr_matrix(COUNTS)}, obs={"kind": KINDS})
    table.write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


def test_a_layer_and_its_labels(file):
    dm = AnnData(file, layer="counts", label="kind", batch_size=5)
    assert dm.shape == (1, 1, 6)
    x = torch.cat([split.x for split in dm.splits])[:, 0, 0].numpy()
    assert np.array_equal(np.sort(x, axis=0), np.sort(COUNTS, axis=0))
    assert dm.classes == ["B", "NK", "T"]
    assert torch.cat([split.y for split in dm.splits]).bincount().tolist() == [20, 10, 10]
    x = torch.cat([split.x for split in AnnData(file, batch_size=5).splits])[:, 0, 0].numpy()
    assert np.array_equal(np.sort(x, axis=0), np.sort(np.log1p(COUNTS), axis=0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer": "raw"}, "has no layer 'raw'; it has counts"),
        ({"label": "age"}, "has no column 'age' in obs; it has kind"),
    ],
)
def test_what_is_missing_is_named(file, settings, message):
    with pytest.raises(ConfigError, match=rf"^data\.path: {file} {message}$"):
        AnnData(file, batch_size=5, **settings).setup()


def test_a_file_that_is_none(tmp_path):
    (tmp_path / "x.h5ad").write_text("no cells")
    with pytest.raises(ConfigError, match=r"^data\.path: .*x\.h5ad cannot be read: .+$"):
        AnnData(tmp_path / "x.h5ad").setup()

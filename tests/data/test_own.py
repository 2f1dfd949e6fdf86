"""What the user's own data have in common: sparse matrices become dense where they fit."""

import numpy as np
import pytest
import torch
from scipy import sparse

from aevb.data import Array
from aevb.data.own import dense
from aevb.errors import ConfigError

COUNTS = np.random.default_rng(0).poisson(0.3, (50, 12))


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csc_array, sparse.csr_matrix])
def test_sparse_counts_of_a_file_and_of_python(tmp_path, kind):
    sparse.save_npz(tmp_path / "x.npz", kind(COUNTS))
    for path in (tmp_path / "x.npz", kind(COUNTS)):
        dm = Array(path, batch_size=5)
        both = torch.cat([split.x for split in dm.splits])[:, 0, 0].numpy()
        assert both.dtype == np.float32
        assert np.array_equal(np.sort(both, axis=0), np.sort(COUNTS, axis=0))


def test_sparse_counts_are_trained_on(run_train, tmp_path):
    sparse.save_npz(tmp_path / "x.npz", sparse.csr_array(COUNTS))
    settings = ["data=array", f"data.path={tmp_path}/x.npz", "model=negative_binomial", "data.batch_size=10"]
    _, elbo = run_train(*settings, "max_samples=100", "logger=none", "callbacks.images=null")
    assert elbo is not None


@pytest.mark.parametrize("part", ["indices", "indptr", "shape", "format"])
def test_a_matrix_that_is_none_gets_one_line(tmp_path, part):
    sparse.save_npz(tmp_path / "x.npz", sparse.csr_array(COUNTS))
    with np.load(tmp_path / "x.npz") as file:
        arrays = dict(file)
    wrong = {"indices": arrays["indices"] + 100, "indptr": arrays["indptr"][:-3], "shape": np.array([3]),
             "format": np.array(b"dia")}  # fmt: skip
    np.savez(tmp_path / "x.npz", **(arrays | {part: wrong[part]}))
    with pytest.raises(ConfigError, match=r"^data\.path: .*x\.npz holds no sparse matrix of scipy's, csr or csc: .+$"):
        Array(tmp_path / "x.npz", batch_size=5).setup()


def test_a_dense_matrix_larger_than_memory_is_refused(monkeypatch):
    monkeypatch.setattr("aevb.data.own.MAX_MEMORY", 2000)
    with pytest.raises(ConfigError, match=r"^data has 2,400 bytes when it is dense, more than fit into memory; .*"):
        dense(sparse.csr_array(COUNTS), "data")

"""Files of NumPy that are damaged, or larger in memory than on disk, are refused."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from aevb.data import Array
from aevb.errors import ConfigError

rng = np.random.default_rng(0)


def images(*shape: int) -> np.ndarray:
    return rng.integers(0, 256, shape, dtype=np.uint8)


def load(path, **kwargs) -> Array:
    dm = Array(path, **({"batch_size": 1} | kwargs))
    dm.setup()
    return dm


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
@pytest.mark.parametrize("name", ["x", "y_test"])
def test_bomb_is_refused_before_it_is_inflated(tmp_path, monkeypatch, compression, name):
    monkeypatch.setattr("aevb.data.numpy_file.HARMLESS_BYTES", 1 << 20)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2**24, 4, 4)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w", compression) as archive:
        if name != "x":
            archive.writestr("x.npy", b"")
        with archive.open(f"{name}.npy", "w") as part:
            part.write(header.getvalue())
            for _ in range(16):
                part.write(bytes(2**18))
    size = 16 * 2**18 + len(header.getvalue())
    message = rf"cannot be read: its [\d,]+ bytes inflate to {size:,}; save it by numpy.savez"
    tracemalloc.start()
    with pytest.raises(ConfigError, match=message):
        load(tmp_path / "x.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_arrays_that_are_not_used_are_not_inflated(tmp_path, monkeypatch):
    monkeypatch.setattr("aevb.data.numpy_file.HARMLESS_BYTES", 1 << 20)
    np.savez_compressed(tmp_path / "x.npz", x=images(30, 4, 4), other=np.zeros(2**24, np.uint8))
    assert load(tmp_path / "x.npz").train_size == 24


@pytest.mark.parametrize("shape", [(10**12, 4, 4), (-1, 4, 4), (9, 4, 5), (9, 4, 3)])
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_header_with_wrong_sizes_is_refused(tmp_path, shape, suffix):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    file.write(bytes(9 * 4 * 4))
    (tmp_path / "x.npy").write_bytes(file.getvalue())
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", file.getvalue())
    with pytest.raises(ConfigError, match=r"cannot be read: it should hold -?[\d,]+ bytes of numbers, and holds 144"):
        load(tmp_path / f"x.{suffix}")


def test_sparse_file_larger_than_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("aevb.data.numpy_file.MAX_MEMORY", 10**6)
    with (tmp_path / "x.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (10**8, 4, 4)})
        file.truncate(file.tell() + 16 * 10**8)
    with pytest.raises(ConfigError, match=r"cannot be read: it has 1,600,000,128 bytes, more than 1,000,000"):
        load(tmp_path / "x.npy")


def test_encrypted_archive_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", x=images(30, 4, 4))
    content = bytearray((tmp_path / "x.npz").read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ConfigError, match=r"x\.npz cannot be read: it is encrypted$"):
        load(tmp_path / "x.npz")

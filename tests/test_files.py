import os
import stat

import pytest

from aevb.errors import ConfigError
from aevb.files import atomic_write, require_own_files


def test_writes_bytes_and_text(tmp_path):
    atomic_write(tmp_path / "bytes", b"\x00\xff")
    atomic_write(str(tmp_path / "text"), "σ² = 1\r\n")
    assert (tmp_path / "bytes").read_bytes() == b"\x00\xff"
    assert (tmp_path / "text").read_bytes() == "σ² = 1\r\n".encode()


def test_replaces_a_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "status.json"
    path.write_text("old")
    atomic_write(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
def test_failed_write_keeps_the_old_file_and_no_other(tmp_path, monkeypatch, failure, step):
    path = tmp_path / "last.ckpt"
    path.write_text("old")

    def fail(*args):
        raise failure

    monkeypatch.setattr(step, fail)
    with pytest.raises(type(failure)):
        atomic_write(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_follows_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        atomic_write(tmp_path / "file", "")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        atomic_write(tmp_path / "missing" / "file", "")


def test_links_that_wandb_makes_in_its_own_folders_are_no_reason_to_refuse_a_run(tmp_path):
    logs = tmp_path / "run" / "wandb" / "offline-run-20260101_000000-abc12345" / "logs"
    logs.mkdir(parents=True)
    (logs / "debug-core.log").symlink_to(tmp_path / "core.log")
    require_own_files(tmp_path / "run")
    (tmp_path / "run" / "wandb" / "latest-run").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="leads out of"):
        require_own_files(tmp_path / "run")

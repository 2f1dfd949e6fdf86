"""One process at a time: the lock is free once its process has ended, however that was."""

import subprocess
import sys
import threading

import pytest

from aevb.errors import LockedError
from aevb.runs.lock import is_locked, locked

HOLD = """
import sys
from aevb.runs.lock import locked

with locked(sys.argv[1]):
    print("held", flush=True)
    input()
"""


def test_lock_is_exclusive_and_removes_its_file(tmp_path):
    folder = tmp_path / "new" / "run"
    with locked(folder):
        assert is_locked(folder)
        with pytest.raises(LockedError, match=f"^another process uses {folder}$"), locked(folder):
            pass
        assert is_locked(folder)
    assert not is_locked(folder)
    assert list(folder.iterdir()) == []
    with locked(folder):
        assert is_locked(folder)


def test_lock_of_a_killed_process_is_free(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    assert is_locked(tmp_path)
    with pytest.raises(LockedError), locked(tmp_path):
        pass
    process.kill()
    process.communicate()
    assert not is_locked(tmp_path)
    with locked(tmp_path):
        assert is_locked(tmp_path)


def test_unlocked_lock_file_is_free(tmp_path):
    (tmp_path / ".lock").write_text("left by another program")
    assert not is_locked(tmp_path)
    with locked(tmp_path):
        assert is_locked(tmp_path)


def test_link_as_the_lock_is_not_followed(tmp_path):
    (tmp_path / "target").write_text("kept")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic links"), locked(tmp_path / "run"):
        pass
    assert (tmp_path / "target").read_text() == "kept"


def test_one_of_many_gets_the_lock(tmp_path):
    for _ in range(5):
        start, done, held = threading.Barrier(8), threading.Barrier(8), []

        def contend(start=start, done=done, held=held):
            start.wait()
            try:
                with locked(tmp_path):
                    held.append(1)
                    done.wait()
            except LockedError:
                done.wait()

        threads = [threading.Thread(target=contend) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(held) == 1

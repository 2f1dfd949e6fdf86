"""One process at a time: locks of the living, of the dead, and of other machines."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from aevb.errors import LockedError
from aevb.runs import lock
from aevb.runs.lock import Lock, is_locked


def leave_lock(folder, **changes):
    """A lock that its holder did not release, as this process would have left it but for `changes`."""
    (folder / ".lock").write_text(json.dumps(Lock(folder).holder | changes))


@pytest.fixture
def dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_lock_is_held_once_and_leaves_nothing(tmp_path):
    folder = tmp_path / "new" / "run"
    with Lock(folder):
        assert is_locked(folder)
        with pytest.raises(LockedError, match=f"^process {os.getpid()} on .* is at work in {folder}$"), Lock(folder):
            pass
        assert is_locked(folder)
    assert not is_locked(folder)
    assert list(folder.iterdir()) == []
    with Lock(folder):
        assert is_locked(folder)


def test_lock_of_a_dead_process_is_taken_over(tmp_path, dead_process):
    leave_lock(tmp_path, pid=dead_process)
    assert not is_locked(tmp_path)
    with Lock(tmp_path):
        assert is_locked(tmp_path)


def test_lock_of_a_dead_process_whose_number_another_has_is_taken_over(tmp_path):
    leave_lock(tmp_path, process="1")
    with Lock(tmp_path):
        assert is_locked(tmp_path)


def test_zombie_is_dead(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    process.stdout.read()  # it has closed its files: it ends
    deadline = time.monotonic() + 60
    while lock.process_start(process.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert lock.process_start(process.pid) == ""
    assert lock.exists(process.pid)
    process.wait()


def test_process_of_another_machine_lives_while_it_renews_its_lock(tmp_path, dead_process):
    leave_lock(tmp_path, machine="another", pid=dead_process)
    with pytest.raises(LockedError), Lock(tmp_path):
        pass
    old = time.time() - lock.STALE_SECONDS - 1
    os.utime(tmp_path / ".lock", (old, old))
    with Lock(tmp_path):
        assert is_locked(tmp_path)


def test_lock_is_renewed(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.01)
    with Lock(tmp_path):
        os.utime(tmp_path / ".lock", (0, 0))
        deadline = time.monotonic() + 60
        while (tmp_path / ".lock").stat().st_mtime == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_empty_lock_is_nobodys(tmp_path):
    (tmp_path / ".lock").touch()
    assert not is_locked(tmp_path)
    with Lock(tmp_path):
        assert is_locked(tmp_path)


def test_lock_of_another_is_not_released(tmp_path):
    with Lock(tmp_path):
        leave_lock(tmp_path, token="another's")
    assert (tmp_path / ".lock").exists()


def test_one_of_many_takes_a_dead_ones_lock(tmp_path, dead_process):
    for _ in range(20):
        leave_lock(tmp_path, pid=dead_process)
        start, done = threading.Barrier(8), threading.Barrier(8)
        held = []

        def contend(start=start, done=done, held=held):
            start.wait()
            try:
                with Lock(tmp_path):
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

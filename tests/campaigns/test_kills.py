"""A run that is killed at any of its file operations, and continued, ends as one that was never interrupted."""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from aevb.runs.folder import RunFolder

from ..compare import assert_same_end
from ..conftest import ROOT

SETTINGS = [
    "max_samples=2600", "model.encoder.hidden=[8]", "steps=eager", "logger=none", "callbacks.progress=null",
    "callbacks.images.num_samples=4", "callbacks.images.num_reconstructions=2", "callbacks.images.manifold_size=2",
    "callbacks.images.every_samples=1300", "callbacks.checkpoint.every_seconds=0",
]  # fmt: skip

TRAIN = """
import os, runpy, signal, sys

folder, kill_at, log = sys.argv[1:4]
operations = 0

def count(what):
    global operations
    operations += 1
    if operations == int(kill_at):
        os.kill(os.getpid(), signal.SIGKILL)

def watch(event, arguments):
    if event == "open":
        changes = isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    else:
        changes = event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
    if changes and os.path.abspath(str(arguments[0])).startswith(folder):
        count(event)

def fsync(descriptor, fsync=os.fsync):
    count("fsync")
    fsync(descriptor)

sys.stdout = sys.stderr = open(log, "a")
os.fsync = fsync
sys.addaudithook(watch)
sys.argv = ["train.py", *sys.argv[4:]]
try:
    runpy.run_path(train, run_name="__main__")
except SystemExit as end:
    if end.code:
        raise
finally:
    sys.stdout.flush()
    print(operations, file=open(log + ".operations", "w"))
"""

Train = Callable[..., int]


@pytest.fixture(scope="module")
def train(tmp_path_factory) -> Train:
    """Call `train.py` in a process of its own, forked from one that has imported torch; returns the exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["aevb.apps.train", "torch.utils.data"])
    log = tmp_path_factory.mktemp("kills") / "log"

    def call(folder: Path, *arguments: str, kill_at: int = 0) -> int:
        log.write_text("")
        argv = ["", str(folder), str(kill_at), str(log), *arguments]
        code = f"import sys; sys.argv = {argv!r}; train = {str(ROOT / 'train.py')!r}\n{TRAIN}"
        process = context.Process(target=exec, args=(code, {"__name__": "killed"}))
        process.start()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL), log.read_text()
        return process.exitcode

    call.log = log
    return call


@pytest.fixture(scope="module")
def whole(train, tmp_path_factory) -> tuple[RunFolder, int]:
    """A run that nothing has interrupted, and its number of file operations."""
    folder = RunFolder(tmp_path_factory.mktemp("whole") / "run")
    assert train(folder.path, *SETTINGS, f"hydra.run.dir={folder.path}") == 0
    return folder, int(Path(f"{train.log}.operations").read_text())


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_killed_run_ends_as_one_that_was_not(train, whole, sample, tmp_path):
    reference, operations = whole
    assert operations > 50
    for number in sample(list(range(1, operations + 1)), 2):
        folder = RunFolder(tmp_path / str(number))
        command = [*SETTINGS, f"hydra.run.dir={folder.path}"]
        assert train(folder.path, *command, kill_at=number) == -signal.SIGKILL
        continued = [f"resume={folder.path}"] if folder.has_begun else command
        assert train(folder.path, *continued) == 0, number
        assert_same_run(folder, reference)


def assert_same_run(folder: RunFolder, reference: RunFolder) -> None:
    """Two run folders agree in all but times, and nothing temporary is left."""
    assert files(folder) == files(reference)
    assert_same_end(folder, reference)
    first, second = (json.loads(run.status_file.read_text()) for run in (folder, reference))
    for status in (first, second):
        for key in ("id", "started", "ended", "images_per_second", "resumed_after"):
            status.pop(key, None)
    assert first == second
    assert folder.command()[:-1] == reference.command()[:-1]
    assert {path.name: path.read_bytes() for path in folder.images.iterdir()} == {
        path.name: path.read_bytes() for path in reference.images.iterdir()
    }


def files(folder: RunFolder) -> list[str]:
    return sorted(os.path.relpath(path, folder.path) for path in folder.path.rglob("*"))

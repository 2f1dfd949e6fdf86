"""Damaged and hostile run folders, with every program that reads one.

For every folder: one line where it is refused, no traceback, no secret of the environment, no connection, nothing
executed, nothing changed outside of the folder, and limited time and memory.
"""

import os
import re
import resource
import shutil
import socket
import threading
import time
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict

import aevb
from aevb.apps.evaluate import evaluate
from aevb.apps.report import report
from aevb.apps.train import train
from aevb.errors import ConfigError, Stopped

from .hostile import ALL, CASES, SHORT

CONF = str(Path(__file__).parents[2] / "conf")
SECRET = "hunter2-of-the-environment"
BASE = ["max_samples=1000", "model.encoder.hidden=[8]", "logger=none", "callbacks.images=null"]
SECONDS, MEGABYTES = 20, 700


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run, and a second that is never damaged."""
    folder = tmp_path_factory.mktemp("trained")
    for name in ("run", "good"):
        call_train(folder / name, *BASE, f"seed={len(name)}")
    return folder


def call_train(folder, *overrides):
    with initialize_config_dir(CONF, version_base="1.3"):
        config = compose("train", [*overrides], return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    config.paths.run = str(folder)
    try:
        return train(config)
    finally:
        GlobalHydra.instance().clear()
        HydraConfig.instance().cfg = None


def call(program, name, *overrides):
    with initialize_config_dir(CONF, version_base="1.3"):
        return program(compose(name, [*overrides]))


def use(program, path, report_folder):
    """Call a program on a run folder; returns the exit code and the message of a refusal."""
    try:
        if program == "load":
            aevb.load_run(path)
        elif program == "evaluate":
            call(evaluate, "evaluate", f"run={path}", "limit=3", "estimators=[elbo]", "estimators.elbo.num_samples=2")
        elif program == "report":
            call(report, "report", f"runs={path.parent}", f"output={report_folder}")
        else:
            call_train(path, f"resume={path}", "max_samples=1500")
    except ConfigError as error:
        return 2, str(error)
    except Stopped as error:
        return error.exit_code, str(error)
    return 0, ""


def snapshot(folder):
    """Every entry below a folder: its kind, content and time."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            found[str(path)] = (path.read_bytes(), path.stat().st_mtime_ns)
        else:
            found[str(path)] = (path.is_dir(), None)
    return found


@pytest.fixture
def connections(monkeypatch):
    """The attempted connections, all of which fail, but for those of threads that earlier tests have left."""
    attempts, caller = [], threading.current_thread()
    others = set(threading.enumerate()) - {caller}

    def refuse(*arguments, **options):
        if threading.current_thread() not in others:
            attempts.append(arguments)
        raise OSError("there is no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return attempts


@pytest.mark.parametrize("name", CASES if os.environ.get("AEVB_CAMPAIGN") == "long" else SHORT)
def test_folder(trained, tmp_path, monkeypatch, connections, capfd, caplog, name):
    refusing, damage = CASES[name]
    monkeypatch.setenv("SECRET", SECRET)
    outside = tmp_path / "out"
    (outside / "empty").mkdir(parents=True)
    (outside / "secret").write_text(f"{SECRET}: 1\n")
    (outside / "precious").write_text("precious\n")
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    for program in ALL:
        runs = tmp_path / program
        path = shutil.copytree(trained / "run", runs / "run")
        shutil.copytree(trained / "good", runs / "good")
        damage(path, outside)
        before = snapshot(outside), snapshot(runs / "good"), sorted(tmp_path.iterdir())
        peak, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
        capfd.readouterr()
        caplog.clear()

        code, message = use(program, path, runs / "report")

        where = f"{name}, {program}"
        assert time.monotonic() - start < SECONDS, where
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < MEGABYTES << 10, where
        printed = capfd.readouterr()
        said = "\n".join([printed.out, printed.err, caplog.text, message])
        assert "Traceback" not in said, where
        assert "\x1b]0" not in said, where
        assert connections == [], where
        assert (snapshot(outside), snapshot(runs / "good"), sorted(tmp_path.iterdir())) == before, where
        assert list((tmp_path / "cwd").iterdir()) == [], where
        written = b"".join(file.read_bytes() for file in runs.rglob("*") if file.is_file() and not file.is_symlink())
        assert SECRET not in said, where
        assert SECRET.encode() not in written, where
        if program == "report":
            page = (runs / "report" / "report.html").read_text()
            assert code == 0, where
            assert len(re.findall(r"<script(?! type=.application/json)", page)) == 1, where  # the page's own
            assert "\x1b" not in page, where
            assert ("Skipped" in page) == ("report" in refusing) or name in EITHER_WAY, where
        elif program in refusing:
            assert code in (1, 2), where
            assert len(message.splitlines()) == 1, where
            assert len(message) < 1000, where
        else:
            assert code == 0, f"{where}: {said}"


EITHER_WAY = {name for name, (refusing, _) in CASES.items() if "load" in refusing and "report" not in refusing}
"""The report names a run whose model cannot be drawn."""

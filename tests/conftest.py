"""What all tests rely on: the programs, run in this process or as real ones, in a temporary folder."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import open_dict

from aevb.apps.train import train
from aevb.runs.folder import RunFolder

# A shell that starts the tests in the background lets them, and all that they start, ignore Ctrl-C, which some test.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, driven by Playwright."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium is installed")
    with pytest.importorskip("playwright.sync_api").sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that start the programs as slow, and skip those of a GPU where none is."""
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a GPU"))
        if {"command", "interrupt"} & set(getattr(item, "fixturenames", [])):
            item.add_marker("slow")


@pytest.fixture(autouse=True)
def no_wandb_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "true")  # restored afterwards, whatever the loggers make of it
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run_train(tmp_path: Path) -> Iterator[Callable[..., tuple[RunFolder, float | None]]]:
    """Call `train` in this process, as Hydra would for these overrides; returns the run folder and the metric."""

    def call(*overrides: str, folder: Path = tmp_path / "run", is_job: bool = False) -> tuple[RunFolder, float | None]:
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            config = compose("train", [*overrides], return_hydra_config=True)
        if is_job:
            config.hydra.mode = RunMode.MULTIRUN
        HydraConfig.instance().set_config(config)
        task = config.copy()
        with open_dict(task):
            del task["hydra"]
        task.paths.run = str(folder)
        return RunFolder(folder), train(task)

    yield call
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `python train.py …` from an empty folder."""

    def call(*arguments: str, program: str = "train.py") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(ROOT / program), *arguments],
            cwd=tmp_path,
            env=os.environ | {"COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=250,
            stdin=subprocess.DEVNULL,
        )

    return call


@pytest.fixture
def interrupt(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Start `python train.py …`, and send a signal once `last.ckpt` has been written."""

    def call(number: signal.Signals, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), *arguments, f"hydra.run.dir={folder}"],
            cwd=tmp_path,
            env=os.environ | {"COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 200
        while not RunFolder(folder).last_checkpoint.exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "no checkpoint was written"
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate(timeout=100)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return call

"""The program `aevb`: in this process, and from a wheel that is installed in an empty folder."""

import gc
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import aevb
from aevb.apps import program
from aevb.runs.folder import RunFolder

ROOT = Path(__file__).parents[2]


def call(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["aevb", *arguments])
    try:
        program.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def test_garbage_is_collected_again_after_the_imports():
    with pytest.raises(ModuleNotFoundError):
        program.call("nothing", OmegaConf.create())
    assert gc.isenabled()


@pytest.mark.slow
def test_torch_is_imported_only_after_the_settings_are_known(tmp_path):
    """So that a wrong setting is reported at once, and all modules are imported without collecting garbage."""
    code = """
import sys
from aevb.apps import program
program.import_module = lambda name: sys.exit(" ".join({"torch", "pytorch_lightning", "wandb"} & set(sys.modules)))
program.start("train")
"""
    command = [sys.executable, "-c", code, f"hydra.run.dir={tmp_path}/run"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (found.stdout, found.stderr) == ("", "\n")


def test_usage_and_version(monkeypatch, capsys):
    for arguments in ([], ["--help"], ["-h"]):
        assert call(monkeypatch, *arguments) == 0
        out = capsys.readouterr().out
        assert all(f"aevb {name} " in out for name in program.PROGRAMS)
    assert call(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"{aevb.__version__}\n"


def test_unknown_program_is_one_line(monkeypatch, capsys):
    assert call(monkeypatch, "trian", "data=digits") == 2
    assert capsys.readouterr().err == "error: aevb: there is no program 'trian'; did you mean train?\n"


def test_settings_are_checked_by_the_program(monkeypatch, capsys):
    assert call(monkeypatch, "train", "model=gausian") == 2
    assert capsys.readouterr().err == "error: model: there is no 'gausian'; did you mean gaussian?\n"


def test_missing_module_is_reported(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert call(monkeypatch, "train", "model.likelihood._target_=nobodys_heads.Mine") == 2
    assert capsys.readouterr().err == (
        "error: model.likelihood._target_: there is no nobodys_heads.Mine: no module nobodys_heads can be imported; "
        "start the program in the folder that has nobodys_heads.py, or set PYTHONPATH=<that folder>\n"
    )


@pytest.mark.parametrize("mark", [".hydra/config.yaml", "status.json", None])
def test_loading_a_run_imports_no_code_from_its_folder(mark, monkeypatch, tmp_path):
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    if mark:
        (tmp_path / mark).parent.mkdir(exist_ok=True)
        (tmp_path / mark).write_text("{}")
    monkeypatch.chdir(below)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = [*sys.path]
    program.add_current_folder()
    assert sys.path == (before if mark else [*before, str(below)])


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The program `aevb` of a wheel in an environment of its own, which finds the dependencies in this one."""
    folder = tmp_path_factory.mktemp("installed")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=100)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--no-index", "--no-deps", "--quiet", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=100)
    paths = [path for path in sys.path if path.endswith("site-packages")]
    (site_packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (site_packages / "dependencies.pth").write_text("".join(f"{path}\n" for path in paths))
    return python.with_name("aevb")


def run(installed: Path, folder: Path, *arguments: str, exit_code: int = 0) -> str:
    done = subprocess.run(
        [installed, *arguments],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=250,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == exit_code, done.stdout + done.stderr
    return done.stdout + done.stderr


HEAD = """
from aevb.likelihoods import Bernoulli

class Mine(Bernoulli):
    pass
"""


@pytest.mark.slow
def test_wheel_works_in_an_empty_folder(installed, tmp_path):
    (tmp_path / "heads.py").write_text(HEAD)
    (tmp_path / "my_conf" / "model").mkdir(parents=True)
    (tmp_path / "my_conf" / "model" / "mine.yaml").write_text(
        "defaults: [bernoulli, _self_]\nlikelihood:\n  _target_: heads.Mine\n"
    )
    assert "aevb train model=gaussian data=freyface" in run(installed, tmp_path, "train", "--help")
    small = ["data=digits", "max_samples=1000", "logger=none", "callbacks.images.num_samples=4"]
    own = ["--config-dir", "my_conf", "model=mine", "hydra.run.dir=outputs/mine"]
    out = run(installed, tmp_path, "train", *small, *own)
    assert 'aevb.load_run("outputs/mine")' in out
    assert RunFolder(tmp_path / "outputs" / "mine").status()["state"] == "finished"

    evaluation = ["run=outputs/mine", "estimators=[elbo]", "limit=10"]
    assert "allow=[heads]" in run(installed, tmp_path, "evaluate", *evaluation, exit_code=2)
    assert "elbo" in run(installed, tmp_path, "evaluate", *evaluation, "allow=[heads]")
    run(installed, tmp_path, "export", "run=outputs/mine", "allow=[heads]")
    assert (tmp_path / "outputs" / "mine" / "exported" / "model.safetensors").is_file()
    code = 'import aevb; aevb.load("outputs/mine/exported", allow=["heads"]); print(aevb.load("digits").p.latent_dim)'
    python = installed.with_name("python")
    loaded = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert loaded.stdout == "10\n", loaded.stderr
    run(installed, tmp_path, "report", "runs=outputs", "allow=[heads]")
    assert (tmp_path / "outputs" / "report" / "report.html").is_file()
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"heads.py", "my_conf", "outputs"}

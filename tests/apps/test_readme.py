"""What the README and the docs tell a reader to type does what they say."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from aevb.apps.compose import compose_unchecked, without_hydra
from aevb.apps.python import validate_values
from aevb.runs.exported import ZOO
from aevb.runs.folder import RunFolder
from aevb.settings import validate

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
DATA = Path(os.environ.get("AEVB_DATA_DIR", "missing"))


def commands(page: Path, program: str = "train") -> list[list[str]]:
    """Arguments of every `python train.py …` in a page's code, without comments and shell variables."""
    text = re.sub(r"\\\n\s*", " ", page.read_text())
    found = re.findall(rf"(?:^ *|`)python {program}\.py([^`\n]*)", text, re.MULTILINE)
    return [[word for word in shlex.split(arguments, comments=True) if word[0] != "$"] for arguments in found]


def jobs(arguments: list[str]) -> list[list[str]]:
    """The overrides of each job: one for a plain command, the first value of every choice for a sweep."""
    if any(
        "…" in argument or "<" in argument or (argument.startswith("-") and argument != "-m") for argument in arguments
    ):
        return []
    if "-m" not in arguments and not any(argument.startswith("sweep=") for argument in arguments):
        return [arguments]
    parsed = OverridesParser.create().parse_overrides([argument for argument in arguments if argument != "-m"])
    return [
        [
            f"{override.key_or_group}={next(override.sweep_string_iterator())}"
            if override.is_sweep_override()
            else str(override.input_line)
            for override in parsed
        ]
    ]


OWN_HEAD = "model/likelihood=geometric"
"""Of the page on likelihoods, which another test executes whole."""

EXAMPLES = [
    pytest.param(job, id=f"{page.name}: {' '.join(job)}")
    for page in PAGES
    for arguments in commands(page)
    for job in jobs(arguments)
    if OWN_HEAD not in job
]


def test_there_are_examples():
    assert len(EXAMPLES) >= 5


@pytest.mark.parametrize("overrides", EXAMPLES)
def test_command_is_valid(overrides):
    config = compose_unchecked([argument for argument in overrides if not argument.startswith(("hydra.", "hydra/"))])
    validate_values(without_hydra(config), has_data=True)


EVALUATIONS = [
    pytest.param([re.sub(r"^run=.*", "run=x", word) for word in words], id=f"{page.name}: {' '.join(words)}")
    for page in PAGES
    for words in commands(page, "evaluate")
    if words and "…" not in "".join(words).replace("run=…", "")
]


@pytest.mark.parametrize("overrides", EVALUATIONS)
def test_evaluation_is_valid(overrides):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        validate(compose("evaluate", overrides), "evaluate")


README = [job for arguments in commands(ROOT / "README.md") for job in jobs(arguments)]


@pytest.mark.parametrize("overrides", README, ids=" ".join)
def test_command_of_the_readme_runs(run_train, overrides):
    for data, file in {"freyface": "FreyFace/frey_rawface.mat", "mnist": "MNIST/raw"}.items():
        if any(data in override for override in overrides) and not (DATA / file).exists():
            pytest.skip("AEVB_DATA_DIR does not hold the data set")
    if any(argument.startswith("data.path") for argument in overrides):
        pytest.skip("names a file of the reader's own")
    small = [
        "max_samples=300",
        "learning_rate_search.samples=300",
        "callbacks.images.manifold_size=4",
        "callbacks.images.num_samples=4",
    ]
    kept = [argument for argument in overrides if not argument.startswith("max_samples")]
    folder, metric = run_train(*kept, *small)
    assert metric is not None
    assert folder.status()["state"] == "finished"


def test_python_of_the_readme_runs(run_train, capsys):
    folder, _ = run_train("max_samples=300", "logger=none")
    (code,) = re.findall(r"```python\n(import aevb.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    code = code.replace("outputs/<date>/<time>-digits-continuous_bernoulli", str(folder.path))
    code = code.replace("log_marginal(x, 1000)", "log_marginal(x, 10)")
    names: dict[str, object] = {}
    exec(code, names)
    assert names["x"].shape == (16, 1, 8, 8)
    assert names["z"].shape == (16, 8)
    assert capsys.readouterr().out.count("tensor(") == 2


def story() -> list[str]:
    """The commands of the README's code blocks, in its order, that need no download and no server."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("python ") and "freyface" not in line]


class Reader:
    """Types the README's commands in an empty folder, with settings that make them short."""

    SMALL = ("model.encoder.hidden=[32]", "callbacks.images.manifold_size=4", "callbacks.images.num_samples=4")

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, line: str, *more: str) -> subprocess.Popen[str]:
        _, program, *arguments = shlex.split(self.filled_in(line))
        return subprocess.Popen(
            [sys.executable, str(ROOT / program), *arguments, *more],
            cwd=self.folder,
            env=os.environ | {"COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def type(self, line: str, *more: str, exit_code: int = 0) -> str:
        """Run a command to its end; returns what it says."""
        process = self.start(line, *more)
        out, err = process.communicate(timeout=250)
        assert "Traceback" not in out + err
        assert process.returncode == exit_code, out + err
        return out + err

    def filled_in(self, line: str) -> str:
        """The line with the names of the folders that are there."""
        for pattern, glob in {
            r"outputs/<date>/<time>-digits-continuous_bernoulli": "outputs/2*/*-digits-continuous_bernoulli",
            r"outputs/sweeps/<name>": "outputs/sweeps/*",
        }.items():
            if pattern in line:
                (found,) = self.folder.glob(glob)
                line = line.replace(pattern, str(found.relative_to(self.folder)))
        return line


@pytest.mark.slow
@pytest.mark.timeout(1200)  # eight processes, one after another
def test_readme_is_one_story(tmp_path):
    train, resume, extend, sweep, evaluate, task, report = story()
    reader = Reader(tmp_path)

    process = reader.start(train, *Reader.SMALL, "max_samples=150000")
    deadline = time.monotonic() + 200
    while not list(tmp_path.glob("outputs/*/*/checkpoints/last.ckpt")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 130
    assert "Traceback" not in out + err
    (path,) = tmp_path.glob("outputs/2*/*-digits-continuous_bernoulli")
    folder = RunFolder(path)
    assert err.splitlines()[-1].endswith(f"continue with: {reader.filled_in(resume)}")
    interrupted = folder.status()
    assert interrupted["state"] == "interrupted"
    assert 0 < interrupted["samples"] < 150_000

    assert "finished after 150,000 samples" in reader.type(resume)
    assert folder.status()["state"] == "finished"
    out = reader.type(extend.replace("5000000", "152000"))
    assert folder.status()["samples"] == 152_000
    upload = re.search(r"wandb sync (\S+)", out)
    assert upload
    assert len(list(tmp_path.glob(upload[1]))) == 3  # the parts of one run

    table = reader.type(sweep, *Reader.SMALL, "max_samples=1000", "logger=none")
    jobs = [RunFolder(path) for path in sorted(tmp_path.glob("outputs/sweeps/*/*/")) if path.name != "wandb"]
    assert len(jobs) == 3
    for job in jobs:
        assert job.status()["state"] == "finished"
        assert job.path.name.split("=")[1] in table
    ended = [job.status()["ended"] for job in jobs]
    reader.type(sweep, *Reader.SMALL, "max_samples=1000", "logger=none")
    assert [job.status()["ended"] for job in jobs] == ended

    out = reader.type(evaluate)
    for estimator in ("elbo", "importance_sampling"):
        assert estimator in out
    out = reader.type(task, "limit=5", "task.num_chains=2", "task.burn_in=1", "task.num_steps=2")
    (picture,) = folder.images.glob("*_inpaint.png")
    assert str(picture.relative_to(tmp_path)) in out

    page_file = tmp_path / "outputs" / "report" / "report.html"
    reader.type(report)
    page = page_file.read_text()
    assert all(job.path.name in page for job in jobs)
    out = reader.type("python report.py runs=outputs")  # the evaluated run, too
    assert "skipped" not in out
    assert path.name in page_file.read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_exist(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_model_is_trained_from_python(capsys):
    (block,) = re.findall(r"```python\n(from functools.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    exec(block.replace("max_epochs=50", "max_epochs=3"), {"__name__": "readme"})
    assert -40 < float(re.findall(r"tensor\((-[\d.]+)", capsys.readouterr().out)[-1]) < -24


def test_five_lines_of_python_run(capsys):
    (block,) = re.findall(r"```python\n(from sklearn.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(block.replace("max_epochs=50", "max_epochs=3"), names)
    assert names["z"].shape == (1797, 10)
    assert names["images"].shape == (16, 1, 8, 8)
    assert -40 < float(re.findall(r"tensor\((-[\d.]+)", capsys.readouterr().out)[-1]) < -24


def test_page_on_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(re.sub(r"(max_samples=)[\d_]+", r"\g<1>2000", block), names)
    assert names["vae"].p.latent_dim == 5
    assert RunFolder(names["run"]).status()["state"] == "finished"


def test_page_on_data_gives_draws_in_the_units_of_a_table(run_train, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).normal([1e6, 0.01], [1e4, 0.002], (200, 2)).tolist()
    lines = ["mass,width,species", *(f"{mass!r},{width!r},setosa" for mass, width in rows)]
    Path("table.csv").write_text("\n".join(lines) + "\n")
    settings = ["data=csv", "data.path=table.csv", "data.label=species", "max_samples=500"]
    folder, _ = run_train(*settings, "model=gaussian", "callbacks.images=null", "logger=none")
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "data.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    capsys.readouterr()
    exec(block.replace("outputs/<run>", str(folder.path)), names)
    assert names["table"].columns == ["mass", "width"]
    first = float(re.findall(r"\d\.[\de+.]+", capsys.readouterr().out)[0])
    assert 8e5 < first < 1.2e6


def test_page_on_sharing_is_true():
    page = (ROOT / "docs" / "sharing.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(block, names)
    assert names["images"].shape == (16, 1, 28, 28)
    for folder in ZOO.iterdir():
        results = json.loads((folder / "config.json").read_text())["results"]
        assert re.search(rf"\| `{folder.name}` \|.*\| {results['test/elbo']:.2f} \|".replace("-", "−"), page)


def test_files_of_the_map_exist():
    for page in PAGES:
        for link in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"

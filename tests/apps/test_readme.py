"""What the README and the docs tell a reader to type does what they say."""

import os
import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
DATA = Path(os.environ.get("AEVB_DATA_DIR", "missing"))


def commands(page: Path) -> list[list[str]]:
    """Arguments of every `python train.py …` in a page's code, without comments and shell variables."""
    text = re.sub(r"\\\n\s*", " ", page.read_text())
    found = re.findall(r"(?:^|`)python train\.py([^`\n]*)", text, re.MULTILINE)
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
def test_command_composes(overrides, tmp_path):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        compose("train", [argument for argument in overrides if not argument.startswith(("hydra.", "hydra/"))])


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
        "step_size_search.samples=300",
        "callbacks.images.manifold_size=4",
        "callbacks.images.num_samples=4",
    ]
    kept = [argument for argument in overrides if not argument.startswith("max_samples")]
    folder, metric = run_train(*kept, *small)
    assert metric is not None
    assert folder.status()["state"] == "finished"


def test_python_of_the_readme_runs(run_train, capsys):
    folder, _ = run_train("max_samples=300", "logger=none")
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    code = code.replace("outputs/<date>/<time>-digits-bernoulli", str(folder.path))
    code = code.replace("log_marginal(x, 1000)", "log_marginal(x, 10)")
    names: dict[str, object] = {}
    exec(code, names)
    assert names["x"].shape == (16, 1, 8, 8)
    assert names["z"].shape == (16, 2)
    assert capsys.readouterr().out.count("tensor(") == 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_exist(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target

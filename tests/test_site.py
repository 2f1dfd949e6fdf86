import doctest
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
NOT_API = ("aevb.apps.",)  # programs


EXAMPLES = sorted(file for file in (ROOT / "src").rglob("*.py") if ">>> " in file.read_text())


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_examples_of_docstrings_do_what_they_say(file):
    name = ".".join(file.relative_to(ROOT / "src").with_suffix("").parts)
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted
    assert not found.failed


class Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids |= {value for name, value in attrs if name == "id" and value}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    root = tmp_path_factory.mktemp("site")
    shutil.copy(ROOT / "zensical.toml", root)
    shutil.copytree(DOCS, root / "docs")
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "zensical", "build", "--config-file", root / "zensical.toml", "--strict"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    return root / "build" / "site", done


def test_the_site_builds_without_a_broken_link_or_a_docstring_that_cannot_be_read(site):
    _, done = site
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "griffe:" not in output, output


def test_every_page_is_in_the_navigation():
    navigation = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    listed = [page for section in navigation for pages in section.values() for page in pages]
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_the_reference_has_everything_that_a_configuration_can_name(site):
    anchors = Anchors()
    for page in (site[0] / "api").rglob("index.html"):
        anchors.feed(page.read_text())
    named = set()
    for file in (ROOT / "conf").rglob("*.yaml"):
        named |= set(re.findall(r"_target_: (aevb\.\S+)", file.read_text()))
    assert len(named) > 60
    assert {name for name in named if not name.startswith(NOT_API)} - anchors.ids == set()


def test_nothing_on_the_site_is_fetched_from_another_server(site):
    fetched = re.compile(r"""<(?:script|img|link)[^>]*(?:src|href)=["']?(https?://[^"'\s>]+)""")
    pages = [page.read_text() for page in site[0].rglob("*.html")]
    assert len(pages) > 30
    assert {url for page in pages for url in fetched.findall(page)} == set()


def test_the_workflow_files_are_yaml():
    for file in (ROOT / ".github" / "workflows").glob("*.yml"):
        assert "jobs" in yaml.safe_load(file.read_text()), file

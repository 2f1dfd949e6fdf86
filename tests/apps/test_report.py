"""`report.py`: what it writes, what it says, and how it fails."""

import base64
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from hydra import compose, initialize_config_dir

import aevb
from aevb.apps.report import report
from aevb.errors import ConfigError
from aevb.runs.folder import RunFolder

CONF = Path(__file__).parents[2] / "conf"

TINY = ["max_samples=2000", "model.encoder.hidden=[16]", "logger=none", "callbacks=curve", "callbacks.curve.first=500"]


@pytest.fixture
def run_report(tmp_path):
    def call(*overrides):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return report(compose("report", [f"output={tmp_path / 'report'}", *overrides]))

    return call


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.headings, self.pictures, self.links, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.links += [value for key, value in attributes if key in ("src", "href")]
        if tag == "img":
            self.pictures.append(base64.b64decode(named["src"].removeprefix("data:image/png;base64,")))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if self.open and self.open[-1] == "h2":
            self.headings.append(text)


def test_unwritable_output_is_reported_first(run_report, monkeypatch):
    monkeypatch.setattr("aevb.reports.find", lambda patterns: pytest.fail("it reads"))
    with pytest.raises(ConfigError, match=r"^output: /dev/null/report cannot be written: Not a directory$"):
        run_report("runs=outputs", "output=/dev/null/report")


@pytest.mark.slow
def test_report_of_real_runs_is_complete_and_needs_nothing_beside_it(run_train, run_report, tmp_path, capsys):
    for latent_dim in (2, 3):
        run_train(*TINY, f"model.latent_dim={latent_dim}", folder=tmp_path / "runs" / f"latent_dim={latent_dim},a")
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "status.json").write_text("")
    path = run_report(f"runs={tmp_path / 'runs'}", "title='Digits & <more>'")
    text = path.read_text()
    page = Page(text)
    assert page.open == []
    parts = ["Runs", "Learning curves", "Figure 2", "Figure 2", "Figure 4", "Figure 5", "Skipped"]
    assert [heading.split(":")[0] for heading in page.headings] == parts
    assert len(page.pictures) == 4
    assert all(picture.startswith(b"\x89PNG") for picture in page.pictures)
    beside = [path.parent / unquote(link) for link in page.links if not link.startswith("data:")]
    assert all(target.exists() for target in beside)
    assert {target.name for target in beside} > {"table.csv", "figure2.svg", "latent_dim=2,a", "broken"}
    assert not re.search(r"@import|url\((?!#)", text)
    assert "Digits &amp; &lt;more&gt;" in text
    assert "broken" in text
    assert "skipped" in capsys.readouterr().out
    figures = ("learning_curves", "figure2", "figure4", "figure5")
    files = {f"{figure}.{kind}" for figure in figures for kind in ("png", "svg", "csv")}
    files |= {"report.html", "table.csv", "figure2_numbers.csv"}
    assert {file.name for file in path.parent.iterdir()} == files
    assert "model.latent_dim=2" in (path.parent / "table.csv").read_text()


def test_unloadable_run_is_skipped_with_its_name(run_train, run_report, tmp_path, capsys):
    folder, _ = run_train(*TINY, "model.latent_dim=2")
    folder.best_checkpoint.write_bytes(b"damaged")
    path = run_report(f"runs={folder.path}", "parts=[figure4,table]")
    assert "figure4: " in capsys.readouterr().out
    assert "is damaged" in path.read_text()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["runs=nowhere"], "runs: there is no run in nowhere"),
        (["runs=nowhere", "parts=[figure9]"], "parts must be a list of one of table, .*, got .'figure9'"),
        (["runs=null"], "runs must be"),
        ([], "runs must be"),
    ],
)
def test_bad_setting_is_one_line(run_report, overrides, message):
    with pytest.raises(ConfigError, match=message) as error:
        run_report(*overrides)
    assert "\n" not in str(error.value)


def test_command_takes_folders_as_a_shell_completes_them(command, tmp_path):
    process = command("runs=outputs/a=b,c", "--cfg", "job", program="report.py")
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("runs: outputs/a=b,c\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_tables_and_wrong_settings_need_no_torch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    RunFolder("run").create(aevb.compose(["paths.run=run"]), [])
    check = "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules, flush=True)); "
    for arguments, expected in (
        (["report", "runs=run", "parts=[table]"], "report on 1 run: outputs/report/report.html"),
        (["train", "data=array", "data.path=nowhere.npy"], "error: data.path: nowhere.npy does not exist"),
    ):
        code = f"{check}sys.argv = ['aevb', *{arguments}]; from aevb.apps.program import main; main()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
        assert expected in done.stdout + done.stderr
        assert done.stdout.splitlines()[-1] == "False"

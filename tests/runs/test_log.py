"""train.log: what the terminal shows, as plain lines."""

import io
import logging
import sys

import pytest
from rich.console import Console
from rich.progress import Progress

from aevb.errors import ConfigError, Stopped
from aevb.runs.log import Copy, logged


def lines(file):
    return file.read_text().splitlines()


def test_output_is_logged_and_still_printed(tmp_path, capsys):
    file = tmp_path / "train.log"
    handler = logging.StreamHandler(sys.stderr)
    logger = logging.getLogger("a library")
    logger.addHandler(handler)
    with logged(file, "train.py seed=1"):
        print("a table\nof two lines")
        logger.warning("a warning of a library")
        print("no end", end="", file=sys.stderr)
    print("later")
    logger.warning("later")
    logger.removeHandler(handler)
    said = capsys.readouterr()
    head, *rest = lines(file)
    assert head.endswith("train.py seed=1")
    assert rest == ["a table", "of two lines", "a warning of a library", "no end"]
    assert said.out == "a table\nof two lines\nlater\n"
    assert said.err == "a warning of a library\nno endlater\n"


def test_a_handler_without_a_stream_of_its_own_is_logged(tmp_path, capsys):
    logger = logging.getLogger("a library that uses logging's last resort")
    logger.addHandler(logging.lastResort)
    with logged(tmp_path / "train.log", "train.py"):
        logger.warning("a warning")
    logger.removeHandler(logging.lastResort)
    assert lines(tmp_path / "train.log")[1:] == ["a warning"]
    assert capsys.readouterr().err == "a warning\n"


@pytest.mark.parametrize(
    ("error", "line"), [(ConfigError("seed: no"), "error: seed: no"), (Stopped("ended", 1), "ended")]
)
def test_last_line_is_logged(tmp_path, error, line):
    with pytest.raises(type(error)), logged(tmp_path / "train.log", "train.py"):
        raise error
    assert lines(tmp_path / "train.log")[1:] == [line]


def test_second_attempt_is_appended(tmp_path):
    for text in ("first", "second"):
        with logged(tmp_path / "train.log", "train.py"):
            print(text)
    assert lines(tmp_path / "train.log")[1::2] == ["first", "second"]


def test_progress_bar_is_logged_in_its_last_state(tmp_path):
    found = []
    stream = Copy(io.StringIO(), found.append)
    console = Console(file=stream, force_terminal=True, width=60)
    with Progress(console=console, auto_refresh=False) as bar:
        task = bar.add_task("training", total=3)
        for step in range(3):
            bar.update(task, advance=1, refresh=True)
            console.print(f"step [bold]{step}[/bold]")
    stream.end()
    text = [line for line in found if line.strip()]
    assert text[:3] == ["step 0", "step 1", "step 2"]
    assert len(text) == 4
    assert "100%" in text[3]
    assert "\x1b" not in "".join(found)


def test_link_is_not_followed(tmp_path):
    (tmp_path / "target").write_text("kept")
    (tmp_path / "train.log").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic links"), logged(tmp_path / "train.log", "train.py"):
        pass
    assert (tmp_path / "target").read_text() == "kept"


def test_handler_without_a_stream_of_its_own_is_logged_too(tmp_path):
    logger = logging.getLogger("a library")
    logger.addHandler(handler := logging._StderrHandler())
    try:
        with logged(tmp_path / "train.log", "command"):
            logger.error("what it says")
    finally:
        logger.removeHandler(handler)
    assert "what it says" in (tmp_path / "train.log").read_text()
